import { useEffect } from 'react';
import { usePref } from '../lib/prefs';

/** Sets the chosen theme on the document; `system` leaves it to the style sheet. */
export function useTheme(): void {
  const [theme] = usePref('theme');
  useEffect(() => {
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);
}
