//! Requests and answers of the agent protocol: draft-ietf-sshm-ssh-agent, section 3.

use crate::wire::{Malformed, Reader, put_string};

/// The longest message of either side, without its length: what OpenSSH's agent takes too.
pub const MAX_FRAME: u32 = 256 << 10;

const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION_REQUEST: u8 = 27;
const EXTENSION_FAILURE: u8 = 28;
const EXTENSION_RESPONSE: u8 = 29;

const SESSION_BIND: &str = "session-bind@openssh.com";
const LIST_EXTENSIONS: &str = "query";
/// Name of the extension that carries a query of hostward's own client.
const QUERY: &str = "query@hostward";

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which identities there are.
    Identities,
    /// A signature.
    Sign {
        /// The public key or certificate whose private key is to sign.
        key: &'a [u8],
        /// What is to be signed.
        data: &'a [u8],
    },
    /// Says for which SSH session this connection is used.
    SessionBind(SessionBind<'a>),
    /// Which extensions there are.
    Extensions,
    /// A query of hostward's own client: JSON.
    Query(&'a [u8]),
    /// Anything else: adding, removing, locking, other extensions, what is malformed. Answered with [`reply::failure`].
    Other,
    /// An extension that is there, malformed. Answered with [`reply::extension_failure`].
    BadExtension,
}

/// `session-bind@openssh.com`: PROTOCOL.agent, section 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionBind<'a> {
    /// The host's key or certificate, as it was in the key exchange.
    pub host_key: &'a [u8],
    /// The session's identifier.
    pub session_id: &'a [u8],
    /// The host's signature over the identifier.
    pub signature: &'a [u8],
    /// Whether this connection is forwarded to that host, rather than used to log in there.
    pub is_forwarding: bool,
}

/// Reads a message without its length. Total: there is an answer to everything.
pub fn request(message: &[u8]) -> Request<'_> {
    match message.split_first() {
        Some((&REQUEST_IDENTITIES, [])) => Request::Identities,
        Some((&SIGN_REQUEST, body)) => sign(Reader::new(body)).unwrap_or(Request::Other),
        Some((&EXTENSION_REQUEST, body)) => extension(Reader::new(body)).unwrap_or(Request::Other),
        _ => Request::Other,
    }
}

fn sign(mut body: Reader<'_>) -> Result<Request<'_>, Malformed> {
    let (key, data) = (body.string()?, body.string()?);
    // They choose a hash for RSA keys; there are none here.
    let _flags = body.u32()?;
    body.end()?;
    Ok(Request::Sign { key, data })
}

fn extension(mut body: Reader<'_>) -> Result<Request<'_>, Malformed> {
    let read = match body.text()? {
        LIST_EXTENSIONS => body.end().map(|()| Request::Extensions),
        SESSION_BIND => session_bind(body).map(Request::SessionBind),
        QUERY => body.string().and_then(|json| body.end().map(|()| Request::Query(json))),
        _ => Ok(Request::Other),
    };
    Ok(read.unwrap_or(Request::BadExtension))
}

fn session_bind(mut body: Reader<'_>) -> Result<SessionBind<'_>, Malformed> {
    let bind = SessionBind {
        host_key: body.string()?,
        session_id: body.string()?,
        signature: body.string()?,
        is_forwarding: body.boolean()?,
    };
    body.end()?;
    Ok(bind)
}

/// Answers, whole frames with their length.
pub mod reply {
    use super::*;

    /// It is refused, or not known.
    pub fn failure() -> Vec<u8> {
        frame(FAILURE, |_| {})
    }

    /// It is done.
    pub fn success() -> Vec<u8> {
        frame(SUCCESS, |_| {})
    }

    /// The extension is known, and refused.
    pub fn extension_failure() -> Vec<u8> {
        frame(EXTENSION_FAILURE, |_| {})
    }

    /// The identities, each as its certificate and a comment.
    pub fn identities(list: &[(&[u8], &str)]) -> Vec<u8> {
        frame(IDENTITIES_ANSWER, |out| {
            out.extend_from_slice(&(list.len() as u32).to_be_bytes());
            for (certificate, comment) in list {
                put_string(out, certificate);
                put_string(out, comment.as_bytes());
            }
        })
    }

    /// A signature.
    pub fn signature(signature: &[u8]) -> Vec<u8> {
        frame(SIGN_RESPONSE, |out| put_string(out, signature))
    }

    /// The extensions that are known.
    pub fn extensions() -> Vec<u8> {
        frame(EXTENSION_RESPONSE, |out| {
            put_string(out, LIST_EXTENSIONS.as_bytes());
            for name in [SESSION_BIND, QUERY] {
                put_string(out, name.as_bytes());
            }
        })
    }

    /// An answer to hostward's own client.
    pub fn answer(json: &[u8]) -> Vec<u8> {
        frame(EXTENSION_RESPONSE, |out| {
            put_string(out, QUERY.as_bytes());
            put_string(out, json);
        })
    }

    fn frame(kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, kind];
        body(&mut out);
        let length = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&length.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(kind: u8, list: &[&[u8]], rest: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        list.iter().for_each(|bytes| put_string(&mut out, bytes));
        out.extend_from_slice(rest);
        out
    }

    #[test]
    fn what_is_known_is_read_whole() {
        assert_eq!(request(&[11]), Request::Identities);
        let sign = strings(13, &[b"key", b"data"], &[0, 0, 0, 4]);
        assert_eq!(request(&sign), Request::Sign { key: b"key", data: b"data" });
        let query = strings(27, &[b"query@hostward", b"{}"], &[]);
        assert_eq!(request(&query), Request::Query(b"{}"));
        assert_eq!(request(&strings(27, &[b"query"], &[])), Request::Extensions);
        let bind = strings(27, &[b"session-bind@openssh.com", b"k", b"i", b"s"], &[1]);
        let Request::SessionBind(bind) = request(&bind) else { panic!("{bind:?}") };
        assert!(bind.is_forwarding && bind.session_id == b"i");
    }

    #[test]
    fn what_changes_an_agent_is_not_known() {
        // Add, remove, remove all, smartcards, lock, unlock, constrained, and the first version's messages.
        for kind in [0, 1, 3, 5, 7, 8, 9, 12, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 30, 255] {
            assert_eq!(request(&strings(kind, &[b"key", b"data"], &[0, 0, 0, 0])), Request::Other, "{kind}");
        }
        assert_eq!(request(&strings(27, &[b"restrict-destination-v00@openssh.com"], &[])), Request::Other);
        assert_eq!(request(&[]), Request::Other);
    }

    #[test]
    fn what_is_cut_or_longer_is_not_guessed_at() {
        assert_eq!(request(&[11, 0]), Request::Other);
        assert_eq!(request(&strings(13, &[b"key", b"data"], &[0, 0, 0])), Request::Other);
        assert_eq!(request(&strings(13, &[b"key", b"data"], &[0; 5])), Request::Other);
        assert_eq!(request(&[27, 0, 0, 0, 9, b'q']), Request::Other);
        for bad in [
            strings(27, &[b"session-bind@openssh.com", b"k", b"i", b"s"], &[]),
            strings(27, &[b"session-bind@openssh.com", b"k", b"i", b"s"], &[2]),
            strings(27, &[b"query@hostward"], &[]),
            strings(27, &[b"query@hostward", b"{}"], &[0]),
            strings(27, &[b"query"], &[0]),
        ] {
            assert_eq!(request(&bad), Request::BadExtension, "{bad:?}");
        }
    }

    #[test]
    fn answers_are_frames() {
        assert_eq!(reply::failure(), [0, 0, 0, 1, 5]);
        assert_eq!(reply::success(), [0, 0, 0, 1, 6]);
        assert_eq!(reply::extension_failure(), [0, 0, 0, 1, 28]);
        assert_eq!(reply::identities(&[]), [0, 0, 0, 5, 12, 0, 0, 0, 0]);
        assert_eq!(
            reply::identities(&[(b"k", "c")]),
            [0, 0, 0, 15, 12, 0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'c']
        );
        assert_eq!(reply::signature(b"s"), [0, 0, 0, 6, 14, 0, 0, 0, 1, b's']);
        assert_eq!(reply::answer(b"{}")[4..], strings(29, &[b"query@hostward", b"{}"], &[]));
        let all = strings(29, &[b"query", b"session-bind@openssh.com", b"query@hostward"], &[]);
        assert_eq!(reply::extensions()[4..], all);
    }
}
