// Runs before the first paint, so that a chosen theme does not flash up as the other one.
try {
  var theme = JSON.parse(localStorage.getItem('palisade.theme'));
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden or damaged: the system's theme it is.
}
