//! A load that pgbench can't make: many connections, each with a token of its own.
//!
//! Every worker owns some of the connections and sends the statement over one after the other, so that
//! as many statements are under way as there are workers, and all tenants come in turn. Speaks the
//! simple protocol by hand: what is measured is the proxy, and a driver would cost more than it.
//!
//! Prints one JSON object: transactions, bytes received, seconds, and latencies in µs. With `--hold` it
//! opens the connections, prints `ready` and keeps them until its standard input ends.

use std::error::Error;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use clap::Parser;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What to do.
#[derive(Debug, Parser)]
struct Arguments {
    /// Host and port.
    #[arg(long)]
    address: String,
    #[arg(long)]
    user: String,
    #[arg(long)]
    database: String,
    /// A file with a password for each connection, used in turn.
    #[arg(long)]
    passwords: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[arg(long, default_value_t = 1)]
    workers: usize,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// The statement; {tenant} is the connection's number from 1, {row} a number from 1 to 100.
    #[arg(long, default_value = "SELECT 1")]
    sql: String,
    /// Only open the connections and keep them.
    #[arg(long)]
    hold: bool,
}

/// A connection that is ready for a query.
struct Connection {
    stream: BufReader<TcpStream>,
    tenant: usize,
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Connection {
    fn open(arguments: &Arguments, tenant: usize, password: Option<&str>) -> Outcome<Self> {
        let stream = TcpStream::connect(&arguments.address)?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            tenant,
            request: Vec::new(),
            body: Vec::new(),
        };
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        for text in ["user", &arguments.user, "database", &arguments.database, ""] {
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
        connection.send(None, &startup)?;
        loop {
            match connection.receive()? {
                b'R' if connection.body.starts_with(&[0, 0, 0, 3]) => {
                    let password = password.ok_or("a password is asked for")?;
                    connection.send(Some(b'p'), &[password.as_bytes(), &[0]].concat())?;
                }
                b'E' => return Err(connection.error()),
                b'Z' => return Ok(connection),
                _ => {}
            }
        }
    }

    fn send(&mut self, tag: Option<u8>, body: &[u8]) -> Outcome<()> {
        self.request.clear();
        self.request.extend(tag);
        self.request
            .extend_from_slice(&u32::try_from(body.len() + 4)?.to_be_bytes());
        self.request.extend_from_slice(body);
        Ok(self.stream.get_mut().write_all(&self.request)?)
    }

    /// Reads one message into the body and gives its tag.
    fn receive(&mut self) -> Outcome<u8> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header)?;
        let [tag, length @ ..] = header;
        let length = u32::from_be_bytes(length).checked_sub(4);
        self.body
            .resize(usize::try_from(length.ok_or("a short message")?)?, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(tag)
    }

    /// Sends the statement and reads its answer; gives how many bytes came.
    fn run(&mut self, sql: &str, row: usize) -> Outcome<usize> {
        let sql = sql
            .replace("{tenant}", &self.tenant.to_string())
            .replace("{row}", &row.to_string());
        self.send(Some(b'Q'), &[sql.as_bytes(), &[0]].concat())?;
        let mut bytes = 0;
        loop {
            let tag = self.receive()?;
            bytes += 5 + self.body.len();
            match tag {
                b'E' => return Err(self.error()),
                b'Z' => return Ok(bytes),
                _ => {}
            }
        }
    }

    fn error(&self) -> Box<dyn Error + Send + Sync> {
        String::from_utf8_lossy(&self.body)
            .replace('\0', " ")
            .into()
    }
}

/// What one worker has done.
#[derive(Default)]
struct Done {
    latencies: Vec<u32>,
    bytes: usize,
}

fn work(
    mut connections: Vec<Connection>,
    sql: &str,
    start: &Barrier,
    time: Duration,
) -> Outcome<Done> {
    let mut done = Done::default();
    start.wait();
    let began = Instant::now();
    let count = connections.len().max(1);
    for row in 0.. {
        let Some(connection) = connections.get_mut(row % count) else {
            break;
        };
        let sent = Instant::now();
        done.bytes += connection.run(sql, row % 100 + 1)?;
        done.latencies
            .push(u32::try_from(sent.elapsed().as_micros())?);
        if began.elapsed() >= time {
            break;
        }
    }
    Ok(done)
}

fn open_all(arguments: &Arguments) -> Outcome<Vec<Connection>> {
    let passwords = match &arguments.passwords {
        Some(file) => std::fs::read_to_string(file)?,
        None => String::new(),
    };
    let passwords: Vec<&str> = passwords.lines().collect();
    (0..arguments.connections)
        .map(|number| {
            let password = passwords.get(number % passwords.len().max(1));
            Connection::open(arguments, number + 1, password.copied())
        })
        .collect()
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let mut connections = open_all(&arguments)?;
    if arguments.hold {
        println!("ready");
        std::io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let workers = arguments.workers.clamp(1, connections.len().max(1));
    let mut shares: Vec<Vec<Connection>> = (0..workers).map(|_| Vec::new()).collect();
    for (share, connection) in (0..workers).cycle().zip(connections.drain(..)) {
        if let Some(share) = shares.get_mut(share) {
            share.push(connection);
        }
    }
    let start = Barrier::new(workers);
    let time = Duration::from_secs_f64(arguments.seconds);
    let began = Instant::now();
    let outcomes = std::thread::scope(|scope| {
        let (start, sql) = (&start, arguments.sql.as_str());
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || work(share, sql, start, time)))
            .collect();
        let ended = running.into_iter().map(|it| {
            it.join()
                .unwrap_or_else(|_| Err("a worker panicked".into()))
        });
        ended.collect::<Outcome<Vec<Done>>>()
    })?;
    report(outcomes, began.elapsed());
    Ok(())
}

fn report(outcomes: Vec<Done>, took: Duration) {
    let bytes: usize = outcomes.iter().map(|it| it.bytes).sum();
    let mut latencies: Vec<u32> = outcomes.into_iter().flat_map(|it| it.latencies).collect();
    latencies.sort_unstable();
    let quantile = |thousandths: usize| {
        let last = latencies.len().saturating_sub(1);
        latencies
            .get(last * thousandths / 1000)
            .copied()
            .unwrap_or(0)
    };
    println!(
        "{{\"transactions\": {}, \"bytes\": {bytes}, \"seconds\": {:.6}, \"p50\": {}, \"p99\": {}, \"p999\": {}}}",
        latencies.len(),
        took.as_secs_f64(),
        quantile(500),
        quantile(990),
        quantile(999)
    );
}
