// Runs one of the files beside it: node e2e/run.mjs signin.mjs. It ends with 0 only if every part of it held.

import { closeAll, runParts } from './lib.mjs';

const file = process.argv[2];
let good = false;
try {
  await import(new URL(file, import.meta.url).href);
  good = await runParts();
} finally {
  await closeAll();
}
process.exit(good ? 0 : 1);
