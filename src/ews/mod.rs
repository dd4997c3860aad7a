//! Exchange Web Services: the mail source for Exchange Server.
