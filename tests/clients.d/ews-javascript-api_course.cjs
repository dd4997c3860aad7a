// ews-javascript-api (npm) against the simulated Exchange: log on, read, sync, hear of new mail by a stream, and be refused.
const ews = require('ews-javascript-api');
const { simulators, secret, control, step, expect, within, run } = require('./course.cjs');

const USER = 'user3@example.com';

function service(user = simulators.basic.user, password = secret('basic-password'), mailbox = USER) {
  const made = new ews.ExchangeService(ews.ExchangeVersion.Exchange2016);
  made.Url = new ews.Uri(simulators.endpoints.ews);
  made.Credentials = new ews.WebCredentials(user, password);
  made.ImpersonatedUserId = new ews.ImpersonatedUserId(ews.ConnectingIdType.SmtpAddress, mailbox);
  return made;
}

const inbox = new ews.FolderId(ews.WellKnownFolderName.Inbox);
const exchange = service();
let sent;

async function refusal(act) {
  try {
    await act();
  } catch (error) {
    return error;
  }
  throw new Error('let in');
}

// The code of a SOAP fault, which must be this one.
function fault(error, code) {
  expect(error.ResponseCode === code, `${ews.ServiceError[error.ResponseCode]}: ${error}`);
  return ews.ServiceError[code];
}

step('finds the inbox and its counts', async () => {
  sent = [];
  for (const n of [0, 1, 2]) sent.push((await control('/mail', { to: USER, subject: `Subject ${n}`, preview: 'Text' })).id);
  const folder = await ews.Folder.Bind(exchange, ews.WellKnownFolderName.Inbox);
  expect(folder.UnreadCount >= 3, folder.UnreadCount);
  return `${folder.UnreadCount} unread of ${folder.TotalCount}`;
});

step('reads the newest mails', async () => {
  const view = new ews.ItemView(3);
  view.OrderBy.Add(ews.ItemSchema.DateTimeReceived, ews.SortDirection.Descending);
  const found = await exchange.FindItems(inbox, view);
  expect(found.Items.length === 3, found.TotalCount);
  const properties = new ews.PropertySet(ews.BasePropertySet.FirstClassProperties);
  const item = await ews.EmailMessage.Bind(exchange, new ews.ItemId(sent[0]), properties);
  expect(item.Subject === 'Subject 0' && item.IsRead === false, item.Subject);
  return found.Items.map((one) => one.Subject).join(', ');
});

step('asks for an item that does not exist', async () => {
  const error = await refusal(() => ews.EmailMessage.Bind(exchange, new ews.ItemId('no id')));
  expect(error.ErrorCode === ews.ServiceError.ErrorInvalidIdMalformed, String(error));
  return ews.ServiceError[error.ErrorCode];
});

step('syncs the inbox twice', async () => {
  const sync = (state) =>
    exchange.SyncFolderItems(inbox, ews.PropertySet.IdOnly, null, 100, ews.SyncFolderItemsScope.NormalItems, state);
  const first = await sync(null);
  expect(first.Count >= 3 && !first.MoreChangesAvailable, first.Count);
  await control('/mail/read', { to: USER, id: sent[0] });
  const second = await sync(first.SyncState);
  const kinds = second.changes.map((change) => ews.ChangeType[change.ChangeType]);
  expect(kinds.join() === 'ReadFlagChange', kinds);
  return `${first.Count} created, then one marked read`;
});

step('resolves a name', async () => {
  const found = await exchange.ResolveName('user3');
  expect(found.Count === 1 && found._getItem(0).Mailbox.Address === USER, found.Count);
  return USER;
});

step('hears of new mail by a stream and closes it', async () => {
  const kinds = [ews.EventType.NewMail, ews.EventType.Created, ews.EventType.Modified];
  const subscription = await exchange.SubscribeToStreamingNotifications([inbox], ...kinds);
  const connection = new ews.StreamingSubscriptionConnection(exchange, 1);
  connection.AddSubscription(subscription);
  const heard = new Promise((resolve, reject) => {
    connection.OnNotificationEvent.push((_, args) => resolve(args.Events.map((event) => ews.EventType[event.EventType])));
    connection.OnSubscriptionError.push((_, args) => reject(args.Exception || new Error('the subscription failed')));
    connection.OnDisconnect.push((_, args) => reject(args.Exception || new Error('disconnected')));
  });
  heard.catch(() => {});
  // What it returns is settled when the stream ends.
  connection.Open().catch(() => {});
  await control('/mail', { to: USER, subject: 'Streamed' });
  const events = await within(10, heard, 'a notification');
  expect(events.includes('NewMail'), events);
  connection.Close();
  await subscription.Unsubscribe();
  return events.join(', ');
});

step('hears of new mail by pulling', async () => {
  const subscription = await exchange.SubscribeToPullNotifications([inbox], 5, null, ews.EventType.NewMail);
  expect((await subscription.GetEvents()).AllEvents.length === 0, 'events before any mail');
  await control('/mail', { to: USER, subject: 'Pulled' });
  const { AllEvents: events } = await subscription.GetEvents();
  expect(events.length === 1 && events[0].EventType === ews.EventType.NewMail, events.length);
  await subscription.Unsubscribe();
  return 'NewMail';
});

step('is told properly what is not simulated', async () => {
  const message = new ews.EmailMessage(exchange);
  message.Subject = 'x';
  const error = await refusal(() => message.Save(ews.WellKnownFolderName.Drafts));
  return fault(error, ews.ServiceError.ErrorInvalidOperation);
});

step('is refused with a wrong password', async () => {
  const error = await refusal(() => ews.Folder.Bind(service(undefined, 'wrong'), ews.WellKnownFolderName.Inbox));
  expect(/401|Unauthorized/i.test(String(error)), String(error));
  return '401';
});

step('is refused without the right to impersonate', async () => {
  const plain = service(simulators.basic.without_impersonation);
  const error = await refusal(() => ews.Folder.Bind(plain, ews.WellKnownFolderName.Inbox));
  return fault(error, ews.ServiceError.ErrorImpersonateUserDenied);
});

step('discovers the address of its server', async () => {
  const discovery = new ews.AutodiscoverService(new ews.Uri('https://autodiscover.example.com/autodiscover/autodiscover.svc'), 'example.com', ews.ExchangeVersion.Exchange2016);
  discovery.Credentials = new ews.WebCredentials(simulators.basic.user, secret('basic-password'));
  const found = await discovery.GetUserSettings(USER, [ews.UserSettingName.ExternalEwsUrl, ews.UserSettingName.GroupingInformation]);
  const settings = found.Settings || found;
  const url = settings[ews.UserSettingName.ExternalEwsUrl] || settings.get?.(ews.UserSettingName.ExternalEwsUrl);
  expect(url === simulators.endpoints.ews, JSON.stringify(found.Settings || found.ErrorMessage));
  return url;
});

run();
