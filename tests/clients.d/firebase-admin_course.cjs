// firebase-admin (npm) against the simulated FCM: token endpoint, single messages, batches over HTTP/2, and refusals.
const { initializeApp, cert } = require('firebase-admin/app');
const { getMessaging } = require('firebase-admin/messaging');
const { simulators, file, control, step, expect, run } = require('./course.cjs');

initializeApp({ credential: cert(file('fcm.json')), projectId: simulators.fcm.project });
const messaging = getMessaging();

const message = (token, more = {}) => ({
  token,
  notification: { title: 'Ann', body: 'Hello' },
  data: { a: 'b' },
  android: {
    priority: 'high',
    ttl: 3600 * 1000,
    collapseKey: 'k',
    notification: {
      tag: 't',
      channelId: 'mail',
      notificationCount: 3,
      vibrateTimingsMillis: [100, 50],
      priority: 'high',
      visibility: 'private',
      eventTimestamp: new Date(),
      lightSettings: { color: '#aabbcc', lightOnDurationMillis: 300, lightOffDurationMillis: 300 },
    },
  },
  ...more,
});

async function refused(sending, code) {
  try {
    await sending;
  } catch (error) {
    expect(error.code === code, `${error.code}: ${error.message}`);
    return error.code;
  }
  throw new Error('accepted');
}

step('sends a message with every field that it knows', async () => {
  const name = await messaging.send(message('phone-one'));
  expect(/^projects\/example-mail\/messages\//.test(name), name);
  return name.replace(/0:.*/, '...');
});

step('sends a batch over one connection', async () => {
  const tokens = Array.from({ length: 20 }, (_, n) => `phone-${n}`);
  const answer = await messaging.sendEach(tokens.map((token) => message(token)));
  expect(answer.successCount === 20, answer.responses.map((r) => String(r.error)));
  return `${answer.successCount} accepted`;
});

step('sends to one list of phones', async () => {
  const answer = await messaging.sendEachForMulticast({ tokens: ['phone-a', 'phone-b'], notification: { title: 'x' } });
  expect(answer.successCount === 2, answer.responses.map((r) => String(r.error)));
});

step('sends with parts for Apple and the web beside', async () => {
  const parts = { apns: { headers: { 'apns-priority': '5' }, payload: { aps: { badge: 1 } } }, webpush: { headers: { TTL: '60' } } };
  await messaging.send(message('phone-one', { ...parts, fcmOptions: { analyticsLabel: 'x' } }));
});

step('tries a message without sending it', async () => {
  const name = await messaging.send(message('phone-one'), true);
  expect(name.startsWith('projects/'), name);
});

step('sends to a topic and to a condition', async () => {
  await messaging.send({ topic: 'news', notification: { title: 'x' } });
  await messaging.send({ condition: "'a' in topics", notification: { title: 'x' } });
});

step('is refused for a token that is none', () => refused(messaging.send(message('no token!')), 'messaging/invalid-argument'));

step('is refused for a phone that is gone', async () => {
  await control('/devices/gone', { provider: 'fcm', token: 'phone-gone' });
  return refused(messaging.send(message('phone-gone')), 'messaging/registration-token-not-registered');
});

step('is refused for a message that is too large', () =>
  refused(messaging.send(message('phone-one', { data: { a: 'x'.repeat(5000) } })), 'messaging/invalid-argument'));

run();
