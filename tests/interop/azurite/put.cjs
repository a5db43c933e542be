// Creates a container, or writes a blob: node put.cjs PORT CONTAINER [BLOB CONTENT]. The account and its key come from
// the environment.
const crypto = require('crypto');
const http = require('http');

const [port, container, blob, content = ''] = process.argv.slice(2);
const { AZURE_STORAGE_ACCOUNT_NAME: account, AZURE_STORAGE_ACCOUNT_KEY: key } = process.env;
const path = `/${account}/${container}${blob ? `/${blob}` : ''}`;
const own = { 'x-ms-date': new Date().toUTCString(), 'x-ms-version': '2021-08-06' };
if (blob) {
  own['x-ms-blob-type'] = 'BlockBlob';
}
const lines = Object.keys(own).sort().map((name) => `${name}:${own[name]}\n`).join('');
// In the signed text, the standard headers between the method and these lines are empty, except for the length.
const signed = `PUT\n\n\n${content.length || ''}${'\n'.repeat(9)}${lines}/${account}${path}${blob ? '' : '\nrestype:container'}`;
const signature = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(signed).digest('base64');
const headers = { ...own, authorization: `SharedKey ${account}:${signature}`, 'content-length': content.length };
http.request({ host: '127.0.0.1', port, method: 'PUT', path: `${path}${blob ? '' : '?restype=container'}`, headers }, (answer) => {
  answer.pipe(process.stderr);
  process.exitCode = answer.statusCode === 201 ? 0 : 1;
}).end(content);
