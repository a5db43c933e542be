// Runs tuf-js in the same way as python_tuf.py runs python-tuf, with the same arguments.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
// The bench sets this variable to the folder in which npm installed tuf-js.
const { Updater } = require(path.join(process.env.NODE_MODULES, 'tuf-js'));

const [metadataBaseUrl, targetBaseUrl, root, state, output, ...names] = process.argv.slice(2);

function updater() {
  return new Updater({
    metadataDir: state,
    metadataBaseUrl,
    targetDir: output,
    targetBaseUrl,
    // The metadata files are larger than the default limits.
    config: { snapshotMaxLength: 2 ** 31, targetsMaxLength: 2 ** 32 },
  });
}

async function run() {
  fs.mkdirSync(state, { recursive: true });
  const trusted = path.join(state, 'root.json');
  if (!fs.existsSync(trusted)) fs.copyFileSync(root, trusted);
  const client = updater();
  await client.refresh();
  if (output === undefined) {
    const started = process.hrtime.bigint();
    await updater().refresh();
    console.log(Number(process.hrtime.bigint() - started) / 1e9);
    return;
  }
  fs.mkdirSync(output, { recursive: true });
  for (const name of names) {
    const target = await client.getTargetInfo(name);
    if (target === undefined) throw new Error(`no target ${name}`);
    if ((await client.findCachedTarget(target)) === undefined) await client.downloadTarget(target);
  }
}

run().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
