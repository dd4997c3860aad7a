//! 401 and what it offers: Windows authentication and Basic to everybody, Bearer to those who sent an empty one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Response, StatusCode, header};

use super::plain;
use crate::https::Body;
use crate::identity::Refusal;

const BEARER: &str = r#"Bearer client_id="00000002-0000-0ff1-ce00-000000000000", trusted_issuers="00000001-0000-0000-c000-000000000000@*", token_types="app_asserted_user_v1 service_asserted_app_v1", authorization_uri="https://login.sim.example/common/oauth2/authorize""#;

/// 401 with the challenges of an on-premises server.
pub(in crate::exchange) fn unauthorized(why: Refusal) -> Response<Body> {
    let mut response = plain(StatusCode::UNAUTHORIZED, "unauthorized");
    let headers = response.headers_mut();
    let mut challenge = |text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.append(header::WWW_AUTHENTICATE, value);
        }
    };
    match why {
        Refusal::EmptyBearer => challenge(BEARER),
        Refusal::InvalidToken | Refusal::ExpiredToken => {
            challenge(BEARER);
            let told = r#"2000001;reason="The token is invalid.";error_category="invalid_token""#;
            headers.insert("x-ms-diagnostics", HeaderValue::from_static(told));
        }
        // The handshake goes on as usual and then fails: no account here has a ticket or a hash.
        Refusal::HandshakeBegun(scheme) => challenge(&format!("{scheme} {}", ntlm_challenge())),
        Refusal::Missing | Refusal::Wrong => {
            for scheme in ["Negotiate", "NTLM", r#"Basic realm="sim.example""#] {
                challenge(scheme);
            }
        }
    }
    response
}

/// A CHALLENGE_MESSAGE (MS-NLMP, section 2.2.1.2) of the domain SIM.
fn ntlm_challenge() -> String {
    /// Unicode, request target, NTLM, always sign, target type domain, extended session security, target info, 128, 56.
    const FLAGS: u32 = 0xa089_8205;
    const HEAD: u32 = 56;
    let name: Vec<u8> = "SIM".encode_utf16().flat_map(u16::to_le_bytes).collect();
    // MsvAvNbDomainName with the name, then MsvAvEOL.
    let mut info = vec![2, 0, 6, 0];
    info.extend_from_slice(&name);
    info.extend_from_slice(&[0; 4]);
    let mut message = b"NTLMSSP\0\x02\0\0\0".to_vec();
    let field = |message: &mut Vec<u8>, length: usize, offset: u32| {
        let length = u16::try_from(length).unwrap_or_default().to_le_bytes();
        message.extend_from_slice(&length);
        message.extend_from_slice(&length);
        message.extend_from_slice(&offset.to_le_bytes());
    };
    field(&mut message, name.len(), HEAD);
    message.extend_from_slice(&FLAGS.to_le_bytes());
    message.extend_from_slice(&rand::random::<[u8; 8]>());
    message.extend_from_slice(&[0; 8]);
    field(&mut message, info.len(), HEAD + 6);
    message.extend_from_slice(&[10, 0, 0x7c, 0x4f, 0, 0, 0, 15]);
    message.extend_from_slice(&name);
    message.extend_from_slice(&info);
    STANDARD.encode(message)
}
