import type { ITheme } from '@xterm/xterm';

export type Scheme = 'dark' | 'light' | 'contrast';

const dark: ITheme = {
  background: '#12161c', foreground: '#dde2e9', cursor: '#84b1f5', cursorAccent: '#12161c', selectionBackground: '#2f5083',
  black: '#2a313c', red: '#f0716b', green: '#6cc788', yellow: '#e0b04e', blue: '#6ea3f2', magenta: '#c58af0', cyan: '#5cc4cf', white: '#c9d0da',
  brightBlack: '#7d8898', brightRed: '#ff938c', brightGreen: '#8fe0a8', brightYellow: '#f3cb78', brightBlue: '#93bcff', brightMagenta: '#dcaeff', brightCyan: '#84e0ea', brightWhite: '#ffffff',
};

const light: ITheme = {
  background: '#ffffff', foreground: '#1a2029', cursor: '#1c5cbc', cursorAccent: '#ffffff', selectionBackground: '#bcd4f7',
  black: '#1a2029', red: '#b3261e', green: '#1b7a3d', yellow: '#8a5700', blue: '#1c5cbc', magenta: '#8a2fb0', cyan: '#0c7580', white: '#667080',
  brightBlack: '#505b6a', brightRed: '#c93a31', brightGreen: '#23904a', brightYellow: '#9c6500', brightBlue: '#2b6fd6', brightMagenta: '#a044c8', brightCyan: '#128a97', brightWhite: '#3c4554',
};

const contrast: ITheme = { ...dark, background: '#000000', foreground: '#ffffff', cursor: '#ffffff', black: '#555555', brightBlack: '#aaaaaa', white: '#eeeeee', selectionBackground: '#555555' };

export const themes: Record<Scheme, ITheme> = { dark, light, contrast };

export function schemeOf(chosen: 'page' | Scheme, pageIsDark: boolean): Scheme {
  return chosen === 'page' ? (pageIsDark ? 'dark' : 'light') : chosen;
}
