//! Log lines of fourteen kinds of systems, made here: templates with parameters, each line with the number of its template.
//!
//! Nothing is taken from real logs or from published corpora. Templates are written as such systems write: with headers
//! and without, with parameters that any mask finds (numbers, addresses, ids) and with some that none can (names of
//! users, tables, acquirers). Lines are drawn with a skew, as a few templates make most of a log.

/// A kind of system.
pub struct System {
    /// What it is.
    pub name: &'static str,
    /// What stands in front of every line.
    pub header: &'static str,
    /// Its lines, with `{kind}` for a parameter.
    pub templates: &'static [&'static str],
}

/// A line and the number of the template that made it.
pub struct Line {
    pub text: String,
    pub template: usize,
}

/// A generator of numbers that is the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 24
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

impl System {
    /// `count` lines.
    pub fn lines(&self, count: usize, seed: u64) -> Vec<Line> {
        let mut numbers = Numbers(seed ^ 0x9e37_79b9_7f4a_7c15);
        let line = |at: usize| {
            // Every template comes, the first ones most.
            let drawn = numbers.below(self.templates.len() as u64).min(numbers.below(self.templates.len() as u64));
            let template = if at < self.templates.len() * 4 { at % self.templates.len() } else { drawn as usize };
            let text = fill(self.header, &mut numbers) + &fill(self.templates[template], &mut numbers);
            Line { text, template }
        };
        (0..count).map(line).collect()
    }
}

fn fill(template: &str, numbers: &mut Numbers) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (kind, after) = after.split_once('}').expect("every brace is closed");
        out.push_str(before);
        out.push_str(&parameter(kind, numbers));
        rest = after;
    }
    out + rest
}

fn parameter(kind: &str, numbers: &mut Numbers) -> String {
    const USERS: [&str; 12] =
        ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "peggy"];
    const TABLES: [&str; 6] = ["orders", "users", "carts", "payments", "refunds", "stock"];
    const MONTHS: [&str; 4] = ["Jan", "Mar", "Aug", "Dec"];
    let n = numbers.next();
    match kind {
        "n" => (n % 10_000).to_string(),
        "pct" => format!("{}%", n % 100),
        "size" => format!("{}.{}{}", n % 900, n % 10, ["KB", "MB", "GB"][(n % 3) as usize]),
        "dur" => format!("{}{}", n % 5_000, ["ms", "us", "s"][(n % 3) as usize]),
        "ip" => format!("10.{}.{}.{}", n % 250, n / 250 % 250, n / 62_500 % 250),
        "addr" => format!("10.{}.{}.7:{}", n % 250, n / 250 % 250, 1_024 + n % 60_000),
        "hex" => format!("0x{n:010x}"),
        "sha" => format!("{:016x}{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n),
        "uuid" => format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            n as u32,
            n & 0xffff,
            n & 0xfff,
            n >> 8 & 0xfff,
            n << 4 & 0xffff_ffff_ffff
        ),
        "blk" => format!("blk_-{n}"),
        "path" => format!("/var/{}/{}/file-{}.log", numbers.of(&TABLES), numbers.of(&USERS), n % 40),
        "route" => format!("/api/v{}/{}/{}", n % 3, numbers.of(&TABLES), n % 9_000),
        "url" => format!("https://{}.example.com/{}?id={}", numbers.of(&USERS), numbers.of(&TABLES), n % 999),
        "mail" => format!("{}@example.com", numbers.of(&USERS)),
        "user" => numbers.of(&USERS).to_owned(),
        "table" => numbers.of(&TABLES).to_owned(),
        "quoted" => format!("\"{} {}\"", numbers.of(&USERS), numbers.of(&TABLES)),
        "list" => (0..1 + n % 4).map(|at| (n / (at + 3) % 100).to_string()).collect::<Vec<_>>().join(", "),
        "iso" => format!("2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z", 1 + n % 28, n % 24, n % 60, n / 60 % 60, n % 1_000),
        "day" => format!("{} {:2} {:02}:{:02}:{:02}", numbers.of(&MONTHS), 1 + n % 28, n % 24, n % 60, n / 60 % 60),
        "thread" => format!("http-nio-{}-exec-{}", 8_000 + n % 90, n % 200),
        other => panic!("no parameter is called {other}"),
    }
}

/// All kinds.
pub const SYSTEMS: [System; 14] = [
    System {
        name: "distributed file system",
        header: "",
        templates: &[
            "Receiving block {blk} src: /{addr} dest: /{addr}",
            "PacketResponder {n} for block {blk} terminating",
            "Received block {blk} of size {n} from /{ip}",
            "BLOCK* addStoredBlock: map updated: {addr} is added to {blk} size {n}",
            "Verification succeeded for {blk}",
            "Deleting block {blk} file {path}",
            "{addr} Served block {blk} to /{ip}",
            "Exception in receiveBlock for block {blk}: connection reset by peer",
            "BLOCK* ask {addr} to replicate {blk} to {list} datanodes",
            "writeBlock {blk} received exception: no space left on device",
        ],
    },
    System {
        name: "cluster coordination",
        header: "{iso} ",
        templates: &[
            "INFO accepted socket connection from /{addr}",
            "INFO client session {hex} established with negotiated timeout {n} for client /{addr}",
            "WARN caught end of stream exception, session {hex} closed by client",
            "INFO notification: {n} (leader), {hex} (zxid), {hex} (round), LOOKING (my state)",
            "WARN cannot open channel to {n} at election address /{addr}",
            "INFO expiring session {hex}, timeout of {dur} exceeded",
            "ERROR unexpected exception causing shutdown while sock still open",
            "INFO snapshotting: {hex} to {path}",
            "WARN fsync-ing the write ahead log took {dur} which will adversely affect latency",
        ],
    },
    System {
        name: "secure shell daemon",
        header: "{day} gate sshd[{n}]: ",
        templates: &[
            "Accepted publickey for {user} from {ip} port {n} ssh2",
            "Failed password for invalid user {user} from {ip} port {n} ssh2",
            "Failed password for {user} from {ip} port {n} ssh2",
            "Connection closed by {ip} [preauth]",
            "Received disconnect from {ip}: {n}: Bye Bye [preauth]",
            "pam_unix(sshd:session): session opened for user {user} by (uid={n})",
            "pam_unix(sshd:session): session closed for user {user}",
            "reverse mapping checking getaddrinfo for {ip} failed - POSSIBLE BREAK-IN ATTEMPT!",
            "Disconnecting: Too many authentication failures for {user} [preauth]",
        ],
    },
    System {
        name: "database server",
        header: "",
        templates: &[
            "duplicate key value violates unique constraint {quoted}",
            "deadlock detected: process {n} waits for ShareLock on transaction {n}; blocked by process {n}",
            "checkpoint complete: wrote {n} buffers ({pct}); {n} WAL files added, {n} removed, {n} recycled",
            "automatic vacuum of table {quoted}: index scans: {n}",
            "connection authorized: user={user} database={table}",
            "could not receive data from client: Connection reset by peer",
            "canceling statement due to statement timeout after {dur}",
            "relation {quoted} does not exist at character {n}",
            "remaining connection slots are reserved for superuser connections",
            "temporary file: path {quoted}, size {n}",
        ],
    },
    System {
        name: "message broker",
        header: "",
        templates: &[
            "[GroupCoordinator {n}]: member {uuid} in group {table} has failed, removing it from the group",
            "[GroupCoordinator {n}]: stabilized group {table} generation {n} with {n} members",
            "[ReplicaFetcher replicaId={n}, leaderId={n}] error sending fetch request (sessionId={n}) to node {n}",
            "[Log partition={table}-{n}, dir={path}] rolled new log segment at offset {n} in {dur}",
            "shrinking ISR from {list} to {list} for partition {table}-{n}",
            "expanding ISR from {list} to {list} for partition {table}-{n}",
            "connection to node {n} ({addr}) could not be established, broker may not be available",
            "record batch of {size} exceeds the maximum configured size",
        ],
    },
    System {
        name: "container orchestrator",
        header: "",
        templates: &[
            "back-off {dur} restarting failed container={table} pod={table}-{sha}_prod({uuid})",
            "successfully assigned prod/{table}-{sha} to node-{n}",
            "readiness probe failed: HTTP probe failed with statuscode: {n}",
            "liveness probe failed: dial tcp {addr}: connect: connection refused",
            "pulling image {quoted}",
            "failed to pull image {quoted}: rpc error: code = NotFound",
            "scaled up replica set {table}-{sha} to {n}",
            "node node-{n} status is now: NodeNotReady",
            "evicting pod {uuid} because of memory pressure, usage {size}",
            "volume {uuid} attached to node node-{n} in {dur}",
        ],
    },
    System {
        name: "Java web shop",
        header: "",
        templates: &[
            "request POST {route} failed in {dur}",
            "java.sql.SQLTransientConnectionException: connection is not available, request timed out after {dur}",
            "order {uuid} of customer {n} placed, total {n} EUR",
            "card token tok_{sha} rejected by acquirer {user}: unsupported token version {n}",
            "retry budget exhausted for acquirer {user}",
            "cache of {table} refreshed: {n} entries in {dur}",
            "circuit breaker {table} changed state from CLOSED to OPEN after {n} failures",
            "slow query of {dur} on table {table}: {n} rows",
            "thread {thread} interrupted while waiting for a connection",
            "currency rate for {user} not found, using default",
            "session {uuid} expired for user {user}",
        ],
    },
    System {
        name: "Python API",
        header: "",
        templates: &[
            "Exception on {route} [GET]",
            "ValueError: invalid literal for int() with base {n}: '{user}'",
            "sqlalchemy.exc.OperationalError: server closed the connection unexpectedly, pool size {n}",
            "KeyError: '{table}'",
            "worker {n} exited with code {n}, restarting",
            "sent mail to {mail} in {dur}",
            "upload of {size} by {user} stored as {path}",
            "task {uuid} retried, attempt {n} of {n}",
            "rate limit of {n}/min reached for {ip}",
            "Traceback follows for request {uuid}",
        ],
    },
    System {
        name: "Go microservice",
        header: "",
        templates: &[
            "read tcp {addr}->{addr}: i/o timeout",
            "rpc error: code = Unavailable desc = transport is closing",
            "context deadline exceeded after {dur} calling {url}",
            "level=info msg=\"served {route}\" status={n} took={dur}",
            "level=error msg=\"dial failed\" err=\"dial tcp {addr}: connect: connection refused\" attempt={n}",
            "level=warn msg=\"queue is nearly full\" used={pct}",
            "goroutine {n} [running]: runtime error at {hex}",
            "lease {hex} renewed until {iso}",
        ],
    },
    System {
        name: "operating system kernel",
        header: "{day} host-{n} kernel: [{n}.{n}] ",
        templates: &[
            "Out of memory: Killed process {n} ({user}) total-vm:{n}kB, anon-rss:{n}kB",
            "eth{n}: link up, {n}Mbps, full-duplex",
            "TCP: request_sock_TCP: Possible SYN flooding on port {n}. Sending cookies.",
            "usb {n}-{n}: new high-speed USB device number {n}",
            "EXT4-fs (sda{n}): mounted filesystem with ordered data mode",
            "blk_update_request: I/O error, dev sdb, sector {n}",
            "CPU{n}: Core temperature above threshold, cpu clock throttled (total events = {n})",
            "audit: type={n} audit({n}.{n}:{n}): pid={n} uid={n}",
        ],
    },
    System {
        name: "load balancer",
        header: "",
        templates: &[
            "Server {table}/{user} is DOWN, reason: Layer4 timeout, check duration: {dur}. {n} active servers left",
            "Server {table}/{user} is UP, reason: Layer7 check passed, code: {n}, check duration: {dur}. {n} active servers online",
            "backend {table} has no server available!",
            "connect() failed ({n}: Connection refused) while connecting to upstream, client: {ip}, upstream: {quoted}",
            "upstream timed out ({n}: Connection timed out) while reading response header, client: {ip}",
            "client {ip} closed keepalive connection",
            "SSL handshake failure from {addr}",
            "proxy {table} stopped (FE: {n} conns, BE: {n} conns)",
        ],
    },
    System {
        name: "mobile operating system",
        header: "",
        templates: &[
            "acquire lock={n}, flags={hex}, tag={quoted}, name={table}, ws=null, uid={n}, pid={n}",
            "release lock={n}, flags={hex}, tag={quoted}",
            "Skipped {n} frames! The application may be doing too much work on its main thread.",
            "battery level changed to {pct}, temperature {n}",
            "Force finishing activity com.shop.app/.{user} for user {n}",
            "onReceive: network state CONNECTED, type WIFI, rssi -{n}",
            "Displayed com.shop.app/.{user}: +{dur}",
            "GC freed {n}({size}) objects, {pct} free, paused {dur}",
        ],
    },
    System {
        name: "supercomputer",
        header: "{n} {iso} R{n}-M{n}-N{n} ",
        templates: &[
            "RAS KERNEL INFO instruction cache parity error corrected",
            "RAS KERNEL INFO {n} double-hummer alignment exceptions",
            "RAS KERNEL FATAL data TLB error interrupt",
            "RAS APP FATAL ciod: failed to read message prefix on control stream (CioStream socket to {addr})",
            "RAS KERNEL INFO generating core.{n}",
            "RAS KERNEL FATAL machine check interrupt (bit={hex}): L2 dcache unit read error",
            "RAS LINKCARD INFO MidplaneSwitchController performing bit sparing on {hex} bit {n}",
            "RAS KERNEL INFO total of {n} ddr error(s) detected and corrected",
        ],
    },
    System {
        name: "cloud compute manager",
        header: "[req-{uuid}] ",
        templates: &[
            "[instance: {uuid}] Took {n}.{n} seconds to build instance.",
            "[instance: {uuid}] Instance destroyed successfully.",
            "[instance: {uuid}] Attempting claim: memory {n} MB, disk {n} GB, vcpus {n} CPU",
            "[instance: {uuid}] Claim successful",
            "[instance: {uuid}] VM Paused (Lifecycle Event)",
            "[instance: {uuid}] VM Stopped (Lifecycle Event)",
            "image {uuid} at ({path}): checking",
            "image {uuid} at ({path}): in use: on this node {n} local, {n} on other nodes sharing this instance storage",
            "{ip} \"GET {route} HTTP/1.1\" status: {n} len: {n} time: {n}.{n}",
            "Auditing locally available compute resources for node {table}",
            "Running instance usage audit from {iso} to {iso}. {n} instances.",
        ],
    },
];
