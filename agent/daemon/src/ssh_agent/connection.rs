//! One connection: frames in, answers out, one after the other. Nobody is waited for longer than is sensible, and no
//! memory is set aside for what has not come.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hostward_ssh_agent::{MAX_FRAME, Session, reply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::caller::Caller;
use super::desk::Desk;
use super::gate::{Pass, Standing};

/// What a request has in most cases. A login with the host's RSA certificate in it has less than half.
const USUAL: usize = 4 << 10;
/// What a request may have that is answered with more than "no": certificates with very many principals.
const MOST: usize = 32 << 10;
/// How many of more than the usual size are read at a time.
static UNUSUAL: Semaphore = Semaphore::const_new(32);

/// How long a message may take that has begun.
const MESSAGE: Duration = Duration::from_secs(10);
/// How long somebody may take to read an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long somebody may say nothing who has no business here.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves a connection to its end.
pub async fn serve(mut stream: UnixStream, caller: Caller, desk: Arc<Desk>, pass: Pass) {
    // Whatever ended it, the other side is gone or unwelcome.
    let _ = answer_all(&mut stream, &caller, &desk, pass.standing()).await;
    drop(pass);
}

async fn answer_all(
    stream: &mut UnixStream,
    caller: &Caller,
    desk: &Desk,
    standing: Standing,
) -> io::Result<()> {
    let mut session = Session::default();
    loop {
        let length = match standing {
            // Clients keep it open while they wait for somebody at a prompt.
            Standing::Bound => length(stream).await?,
            Standing::Other => timeout(SILENCE, length(stream)).await??,
        };
        let Some(length) = length else {
            return Ok(());
        };
        let answer = match timeout(MESSAGE, message(stream, length, standing)).await?? {
            Some(message) => desk.answer(caller, &mut session, &message).await,
            None => reply::failure(),
        };
        timeout(ANSWER, stream.write_all(&answer)).await??;
    }
}

/// The length of the next message; none at the end, and for what is no message.
async fn length(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<usize>> {
    let mut bytes = [0; 4];
    match stream.read_exact(&mut bytes).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let length = u32::from_be_bytes(bytes);
    Ok((1..=MAX_FRAME).contains(&length).then_some(length as usize))
}

/// The message; none where it is longer than anything that is answered, and was thrown away.
async fn message(
    stream: &mut (impl AsyncRead + Unpin),
    length: usize,
    standing: Standing,
) -> io::Result<Option<Vec<u8>>> {
    let is_usual = length <= USUAL;
    if !is_usual && (length > MOST || standing == Standing::Other) {
        throw_away(stream, length).await?;
        return Ok(None);
    }
    // Held until it is read; what is done with it then takes no time.
    let _permit = if is_usual { None } else { UNUSUAL.acquire().await.ok() };
    let mut message = Vec::with_capacity(length.min(1024));
    stream.take(length as u64).read_to_end(&mut message).await?;
    if message.len() == length { Ok(Some(message)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn throw_away(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<()> {
    let mut left = length;
    let mut bytes = [0; 512];
    while left > 0 {
        let most = left.min(bytes.len());
        match stream.read(&mut bytes[..most]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], standing: Standing) -> io::Result<Option<Vec<u8>>> {
        let mut stream = bytes;
        match length(&mut stream).await? {
            Some(length) => message(&mut stream, length, standing).await,
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn frame(length: u32, sent: usize) -> Vec<u8> {
        let mut frame = length.to_be_bytes().to_vec();
        frame.resize(4 + sent, 7);
        frame
    }

    #[tokio::test]
    async fn frames_are_whole_and_bounded() {
        use Standing::{Bound, Other};
        assert_eq!(read(&frame(3, 3), Other).await.unwrap(), Some(vec![7; 3]));
        assert_eq!(read(&frame(32 << 10, 32 << 10), Bound).await.unwrap().map(|m| m.len()), Some(32 << 10));
        assert_eq!(read(&frame(32 << 10, 32 << 10), Other).await.unwrap(), None);
        assert_eq!(read(&frame(MAX_FRAME, 256 << 10), Bound).await.unwrap(), None);
        for bad in [
            frame(0, 0),
            frame(MAX_FRAME + 1, 9),
            frame(256 << 20, 9),
            frame(u32::MAX, 9),
            frame(9, 8),
            vec![0; 3],
        ] {
            assert!(read(&bad, Bound).await.is_err(), "{bad:?}");
        }
        assert!(read(&frame(MAX_FRAME, 9), Bound).await.is_err());
    }
}
