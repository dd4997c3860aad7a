//! Answers as they stand on the wire: ordinary ones in one form, those of streams in another.

use super::names::{ERRORS, Failure, MESSAGES, SOAP, TYPES};
use super::request::OperationName;
use crate::xml::escape;

const VERSION: &str = r#"MajorVersion="15" MinorVersion="2" MajorBuildNumber="1748" MinorBuildNumber="10" Version="V2017_07_11""#;

/// An ordinary answer: XML declaration, prefix `s`.
pub(super) fn envelope(body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="{SOAP}"><s:Header><h:ServerVersionInfo {VERSION} xmlns:h="{TYPES}" xmlns="{TYPES}" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/></s:Header><s:Body xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">{body}</s:Body></s:Envelope>"#
    )
}

/// One document of a stream: no declaration, an unprefixed root, `soap11` inside. Clients look for the bytes `</Envelope>`.
pub(super) fn stream_envelope(message: &str) -> String {
    format!(
        r#"<Envelope xmlns="{SOAP}"><soap11:Header xmlns:soap11="{SOAP}"><ServerVersionInfo {VERSION} xmlns="{TYPES}" /></soap11:Header><soap11:Body xmlns:soap11="{SOAP}"><m:GetStreamingEventsResponse xmlns:m="{MESSAGES}" xmlns:t="{TYPES}"><m:ResponseMessages>{message}</m:ResponseMessages></m:GetStreamingEventsResponse></soap11:Body></Envelope>"#
    )
}

/// The response of `operation` around its response messages.
pub(super) fn response(operation: OperationName, messages: &str) -> String {
    let name = operation.as_str();
    envelope(&format!(
        r#"<m:{name}Response xmlns:m="{MESSAGES}" xmlns:t="{TYPES}"><m:ResponseMessages>{messages}</m:ResponseMessages></m:{name}Response>"#
    ))
}

/// A response message that reports success, with `content` after its code.
pub(super) fn success(operation: OperationName, content: &str) -> String {
    let name = operation.as_str();
    format!(
        r#"<m:{name}ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>{content}</m:{name}ResponseMessage>"#
    )
}

/// The response message of ResolveNames with what was found; several people are a warning.
pub(super) fn resolved(is_ambiguous: bool, content: &str) -> String {
    let (class, code) = if is_ambiguous { ("Warning", "ErrorNameResolutionMultipleResults") } else { ("Success", "NoError") };
    let text = if is_ambiguous { "<m:MessageText>Multiple results were found.</m:MessageText>" } else { "" };
    format!(
        r#"<m:ResolveNamesResponseMessage ResponseClass="{class}">{text}<m:ResponseCode>{code}</m:ResponseCode>{content}</m:ResolveNamesResponseMessage>"#
    )
}

/// A response message that reports a failure, with `content` after the usual elements.
pub(super) fn failure(operation: OperationName, failure: &Failure, content: &str) -> String {
    let name = operation.as_str();
    let Failure { code, text, .. } = failure;
    format!(
        r#"<m:{name}ResponseMessage ResponseClass="Error"><m:MessageText>{}</m:MessageText><m:ResponseCode>{code}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>{}{content}</m:{name}ResponseMessage>"#,
        escape(text),
        values(failure, "m")
    )
}

/// A SOAP fault; it travels with status 500.
pub(super) fn fault(failure: &Failure) -> String {
    let Failure { code, text, .. } = failure;
    let text = escape(text);
    let xml = values(failure, "t");
    let xml = xml.replacen("<t:MessageXml", &format!("<t:MessageXml xmlns:t=\"{TYPES}\""), 1);
    envelope(&format!(
        r#"<s:Fault><faultcode xmlns:a="{TYPES}">a:{code}</faultcode><faultstring xml:lang="en-US">{text}</faultstring><detail><e:ResponseCode xmlns:e="{ERRORS}">{code}</e:ResponseCode><e:Message xmlns:e="{ERRORS}">{text}</e:Message>{xml}</detail></s:Fault>"#
    ))
}

fn values(failure: &Failure, prefix: &str) -> String {
    if failure.values.is_empty() {
        return String::new();
    }
    let values: String =
        failure.values.iter().map(|(name, value)| format!(r#"<t:Value Name="{name}">{}</t:Value>"#, escape(value))).collect();
    format!("<{prefix}:MessageXml>{values}</{prefix}:MessageXml>")
}
