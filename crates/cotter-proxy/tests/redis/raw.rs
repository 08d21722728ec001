//! A client that speaks Redis's bytes, and nothing more than the tests need.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// One that is told of messages beside its answers.
    pub(crate) async fn connect(server: &str) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server");
        stream.set_nodelay(true).expect("it is a socket");
        let mut client = Self { stream: BufReader::new(stream) };
        client.ask(&["HELLO", "3"]).await.expect("an answer");
        client
    }

    pub(crate) async fn send(&mut self, words: &[&str]) {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        // A reset is seen where the reply is read.
        let _ = self.stream.write_all(request.as_bytes()).await;
    }

    /// The next reply or message: its words, with spaces between them.
    pub(crate) async fn reply(&mut self) -> io::Result<String> {
        let (mut words, mut left) = (Vec::new(), 1u32);
        while left > 0 {
            left -= 1;
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (kind, rest) = line.trim_end().split_at(1);
            match kind {
                "*" | ">" => left += rest.parse::<u32>().expect("a count"),
                "%" => left += rest.parse::<u32>().expect("a count") * 2,
                "$" => {
                    let mut text = vec![0; rest.parse::<usize>().expect("a length") + 2];
                    self.stream.read_exact(&mut text).await?;
                    words.push(String::from_utf8_lossy(&text).trim_end().to_owned());
                }
                _ => words.push(rest.to_owned()),
            }
        }
        Ok(words.join(" "))
    }

    pub(crate) async fn ask(&mut self, words: &[&str]) -> io::Result<String> {
        self.send(words).await;
        self.reply().await
    }

    /// Reads until there is no more. Whether that was a reset.
    pub(crate) async fn until_reset(&mut self) -> bool {
        loop {
            match self.reply().await {
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }
}
