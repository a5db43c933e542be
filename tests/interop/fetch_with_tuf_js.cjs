// Refreshes and downloads with tuf-js, and prints the result as one line of JSON.
// The arguments and the form of the result are the same as for fetch_with_python_tuf.py.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
// The test sets this variable to the folder in which npm installed tuf-js.
const { Updater } = require(path.join(process.env.NODE_MODULES, 'tuf-js'));

const [metadataBaseUrl, targetBaseUrl, root, state, output, ...names] = process.argv.slice(2);

function versions() {
  const found = {};
  for (const role of ['root', 'timestamp', 'snapshot', 'targets']) {
    found[role] = JSON.parse(fs.readFileSync(path.join(state, `${role}.json`))).signed.version;
  }
  return found;
}

async function run() {
  fs.mkdirSync(state, { recursive: true });
  fs.mkdirSync(output, { recursive: true });
  const trusted = path.join(state, 'root.json');
  if (!fs.existsSync(trusted)) fs.copyFileSync(root, trusted);
  const updater = new Updater({
    metadataDir: state,
    metadataBaseUrl,
    targetDir: output,
    targetBaseUrl,
    config: { fetchRetries: 0, fetchRetry: 0 },
  });
  await updater.refresh();
  const found = [];
  for (const [number, name] of names.entries()) {
    const target = await updater.getTargetInfo(name);
    found.push(target !== undefined);
    if (target !== undefined) await updater.downloadTarget(target, path.join(output, String(number)));
  }
  return { versions: versions(), found };
}

run()
  .catch((error) => ({ error: error.constructor.name, message: String(error.message) }))
  .then((answer) => console.log(JSON.stringify(answer)));
