//! The API as its callers see it: a listening server and a real client.
