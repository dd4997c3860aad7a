// @parse/node-apn (npm) against the simulated APNs: push to phones that are there, gone, foreign and unknown.
const apn = require('@parse/node-apn');
const { simulators, file, secret, control, step, expect, run } = require('./course.cjs');

const TOPIC = simulators.apns.topic;
const TOKEN = 'a1'.repeat(32);

function provider(production, change = {}) {
  return new apn.Provider({
    token: { key: file('apns.p8'), keyId: simulators.apns.kid, teamId: simulators.apns.team, ...change },
    production,
    ca: secret('ca.pem'),
  });
}

function note(change = {}) {
  const made = new apn.Notification();
  made.topic = TOPIC;
  made.pushType = 'alert';
  made.expiry = Math.floor(Date.now() / 1000) + 3600;
  made.badge = 1;
  made.alert = { title: 'Ann', body: 'Hello' };
  return Object.assign(made, change);
}

const production = provider(true);
const sandbox = provider(false);
const sent = async (by, made, to) => by.send(made, to);

async function reason(by, made, to, status) {
  const { failed } = await sent(by, made, to);
  expect(failed.length === 1 && failed[0].status === status, failed.map(String));
  return `${status} ${failed[0].response.reason}`;
}

step('pushes an alert, and forty at once', async () => {
  const one = await sent(production, note(), TOKEN);
  expect(one.sent.length === 1, one.failed.map((f) => f.response || String(f.error)));
  const tokens = Array.from({ length: 40 }, (_, n) => n.toString(16).padStart(64, 'b'));
  const many = await sent(production, note(), tokens);
  expect(many.sent.length === 40, many.failed.map((f) => f.response || String(f.error)));
  return '41 accepted';
});

step('pushes in the background at priority 5', async () => {
  const made = note({ pushType: 'background', priority: 5, contentAvailable: true });
  made.alert = undefined;
  made.badge = undefined;
  const { sent: taken, failed } = await sent(production, made, TOKEN);
  expect(taken.length === 1, failed.map((f) => f.response || String(f.error)));
});

step('is refused for a token of the other environment', async () => {
  const seen = await reason(sandbox, note(), TOKEN, 400);
  expect(seen.endsWith('BadDeviceToken'), seen);
  return seen;
});

step('is refused for a phone that is gone', async () => {
  await control('/devices/gone', { provider: 'apns', token: 'c1'.repeat(32) });
  const seen = await reason(production, note(), 'c1'.repeat(32), 410);
  expect(seen.endsWith('Unregistered'), seen);
  return seen;
});

step('is refused for a token that is none', async () => reason(production, note(), 'abc', 400));
step('is refused for a topic that its key is not for', async () => reason(production, note({ topic: 'com.example.other' }), TOKEN, 400));
step('is refused for a type of another topic', async () => reason(production, note({ pushType: 'voip' }), TOKEN, 400));

step('is refused for a payload of 4,097 bytes and more', async () => {
  const seen = await reason(production, note({ body: 'x'.repeat(5000) }), TOKEN, 413);
  expect(seen.endsWith('PayloadTooLarge'), seen);
  return seen;
});

step('is refused with the key of another team', async () => {
  const stranger = provider(true, { teamId: 'OTHERTEAM1' });
  const seen = await reason(stranger, note(), TOKEN, 403);
  stranger.shutdown();
  return seen;
});

run();
