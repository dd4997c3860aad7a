//! Exchange Web Services: the mail source for Exchange Server.

pub mod response_code;
pub mod soap;
