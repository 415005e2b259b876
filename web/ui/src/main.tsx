import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import './styles';
import { Router } from './app/router';
import { SessionProvider } from './app/session';
import { useTheme } from './app/theme';
import { Toasts } from './app/toasts';
import { Tooltips } from './ui';

function App() {
  useTheme();
  return (
    <Tooltips>
      <SessionProvider>
        <Router />
        <Toasts />
      </SessionProvider>
    </Tooltips>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
