// A client's course: steps that must hold, each told in a line, and an exit code.
const fs = require('fs');
const path = require('path');

const dev = process.env.SIMULATORS;
const file = (name) => path.join(dev, name);
const secret = (name) => fs.readFileSync(file(name), 'utf8');
const simulators = JSON.parse(secret('simulators.json'));

async function control(at, fields) {
  const answer = await fetch(`http://127.0.0.1:9447${at}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(fields),
  });
  if (!answer.ok) throw new Error(`${at}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

const steps = [];
const step = (what, run) => steps.push([what, run]);

function expect(holds, what) {
  if (!holds) throw new Error(typeof what === 'string' ? what : JSON.stringify(what));
}

function within(seconds, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function run() {
  let failed = 0;
  for (const [what, act] of steps) {
    try {
      const told = await within(60, Promise.resolve().then(act), what);
      console.log(`  ok    ${what}${told === undefined ? '' : `: ${told}`}`);
    } catch (error) {
      failed += 1;
      console.log(`  FAIL  ${what}: ${(error && (error.stack || error.message)) || JSON.stringify(error)}`);
    }
  }
  process.exit(failed ? 1 : 0);
}

module.exports = { file, secret, simulators, control, step, expect, within, run };
