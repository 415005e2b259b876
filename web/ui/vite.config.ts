import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';
import { compress } from './build/compress';
import { devServer } from './build/dev';
import { help } from './build/help';
import { licences } from './build/licences';
import { schemas } from './build/schemas';

export default defineConfig(({ command, mode }) => ({
  plugins: [react(), schemas(), help(), licences(), compress()],
  server: command === 'serve' && mode !== 'test' ? devServer(process.env.PALISADE_NODE ?? 'https://localhost:3080') : {},
  build: {
    target: 'es2022',
    manifest: true,
    // Nothing is put into the page or a style sheet as data: the policy of the node allows images alone that way.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 600,
  },
  test: {
    environment: 'node',
    include: ['src/**/*.test.ts', 'src/**/*.test.tsx', 'build/**/*.test.ts'],
    restoreMocks: true,
  },
}));
