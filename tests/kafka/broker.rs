//! A real Apache Kafka on loopback: one broker or three, in KRaft mode, started from jars that Maven brings. They are ended
//! by their process ids, on a panic too, and by the kernel when the tests themselves are killed.
//!
//! Jars, a class archive that makes a start three times as fast, and a key pair for TLS are made once, under `target/kafka`.

#[path = "metadata.rs"]
mod metadata;

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use metadata::metadata;

/// Several times what a broker has of a core until it has started and read back what it kept. How long it waits for the
/// cores is up to whatever else runs on the machine, and says nothing about the broker.
const START_CPU_MAX: Duration = Duration::from_secs(60);
/// A broker that hangs uses no core. Longer than any machine that gets a test done takes to give a start what it needs.
const LIMIT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Any sixteen bytes will do.
const CLUSTER: &str = "c2hpcHdha2UtdGVzdHMtMQ";
/// Identities of the brokers' folders. Small numbers are reserved: a broker refuses them when it starts.
const FOLDERS: [&str; 3] = ["Zm9vYmFyYmF6cXV4MTExMQ", "Zm9vYmFyYmF6cXV4MjIyMg", "Zm9vYmFyYmF6cXV4MzMzMw"];
/// The user that brokers with passwords know, and its password.
pub const USER: &str = "alice";
pub const PASSWORD: &str = "alice-secret";

/// A cluster that runs.
pub struct Kafka {
    folder: TempDir,
    brokers: Vec<Broker>,
    /// The broker that was started last, and when: the others wait for it.
    newest: (usize, Instant),
}

struct Broker {
    port: u16,
    /// Of the listener with TLS and passwords, when there is one.
    secure_port: Option<u16>,
    settings: PathBuf,
    child: Option<Child>,
}

/// How many brokers, and what differs from the settings that suit tests.
pub struct Settings<'a> {
    pub brokers: usize,
    /// A second listener with TLS, SCRAM-SHA-512 and PLAIN.
    pub secure: bool,
    pub besides: &'a [(&'a str, &'a str)],
}

impl Kafka {
    /// One broker.
    pub fn one() -> Self {
        Self::start(&Settings { brokers: 1, secure: false, besides: &[] })
    }

    /// Three brokers that keep every record on all of them, and answer when two have it.
    pub fn three() -> Self {
        Self::start(&Settings { brokers: 3, secure: false, besides: &[] })
    }

    pub fn start(settings: &Settings<'_>) -> Self {
        let installed = installed();
        let folder = tempfile::tempdir().expect("a folder");
        let ports = free_ports(3 * settings.brokers);
        let controllers: Vec<u16> = ports[settings.brokers..2 * settings.brokers].to_vec();
        let mut brokers = Vec::new();
        for number in 0..settings.brokers {
            let secure_port = settings.secure.then_some(ports[2 * settings.brokers + number]);
            let port = ports[number];
            let text = properties(folder.path(), number, port, secure_port, &controllers, settings.besides);
            let path = folder.path().join(format!("broker-{number}.properties"));
            fs::write(&path, text).expect("a folder for the test");
            brokers.push(Broker { port, secure_port, settings: path, child: None });
        }
        for (number, broker) in brokers.iter().enumerate() {
            format(&installed, broker, number, &controllers, settings.secure);
        }
        let mut kafka = Kafka { folder, brokers, newest: (0, Instant::now()) };
        for number in 0..settings.brokers {
            kafka.start_broker(number);
        }
        kafka.wait_ready();
        kafka
    }

    /// `host:port` of all brokers, separated by commas.
    pub fn bootstrap(&self) -> String {
        let hosts: Vec<String> = self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port)).collect();
        hosts.join(",")
    }

    /// The same for the listener with TLS and passwords.
    pub fn secure_bootstrap(&self) -> String {
        let port = self.brokers[0].secure_port.expect("asked for");
        format!("127.0.0.1:{port}")
    }

    /// The certificate that vouches for the brokers.
    pub fn ca(&self) -> PathBuf {
        installed().join("tls/ca.pem")
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self, number: usize) {
        let mut child = self.brokers[number].child.take().expect("it runs");
        child.kill().expect("it ran");
        child.wait().expect("it was started here");
    }

    /// Stops a broker (SIGSTOP): its connections are there, and nobody answers.
    pub fn stall(&self, number: usize) {
        self.signal(number, "-STOP");
    }

    /// A broker that was stopped goes on.
    pub fn go_on(&self, number: usize) {
        self.signal(number, "-CONT");
    }

    fn signal(&self, number: usize, signal: &str) {
        let child = self.brokers[number].child.as_ref().expect("it runs");
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill exists");
        assert!(sent.success());
    }

    /// Starts a broker that was ended, on what it has kept.
    pub fn start_broker(&mut self, number: usize) {
        let installed = installed();
        let broker = &mut self.brokers[number];
        let log = File::create(broker.settings.with_extension("log")).expect("a folder for the test");
        let mut command = java(&installed, &["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC"]);
        command.arg("kafka.Kafka").arg(&broker.settings);
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        broker.child = Some(command.spawn().expect("java and setpriv exist"));
        self.newest = (number, Instant::now());
    }

    /// Waits until every broker knows all that run.
    pub fn wait_ready(&mut self) {
        while !self.is_ready() {
            pause();
        }
    }

    /// Whether every broker knows all that run. Fails when one has ended by itself, or has had everything that it needs to start.
    pub fn is_ready(&mut self) -> bool {
        let running = self.brokers.iter().filter(|broker| broker.child.is_some()).count();
        for (number, broker) in self.brokers.iter_mut().enumerate() {
            let Some(child) = broker.child.as_mut() else { continue };
            if metadata(broker.port, None).is_some_and(|found| found.brokers == running) {
                continue;
            }
            let has_ended = child.try_wait().expect("it was started here");
            assert!(has_ended.is_none(), "broker {number} ended: {has_ended:?}\n{}", broker.said());
            let (newest, since) = self.newest;
            let newest = &self.brokers[newest];
            let (took, used) = (since.elapsed(), newest.child.as_ref().map_or(Duration::ZERO, cpu_time));
            assert!(
                took < LIMIT && used < START_CPU_MAX,
                "broker {number} is not ready, {took:?} after the last start, which has used {used:?} of a core\n{}",
                newest.said()
            );
            return false;
        }
        true
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &str, partitions: u32, settings: &[&str]) {
        let partitions = partitions.to_string();
        let mut arguments = vec!["--create", "--topic", topic, "--partitions", &partitions];
        arguments.extend(settings.iter().flat_map(|setting| ["--config", setting]));
        self.tool("org.apache.kafka.tools.TopicCommand", &arguments);
    }

    /// Deletes the records of a partition below an offset, as a retention would.
    pub fn delete_records(&self, topic: &str, partition: u32, before: u64) {
        let path = self.folder.path().join("delete.json");
        let text = format!(
            r#"{{"version": 1, "partitions": [{{"topic": "{topic}", "partition": {partition}, "offset": {before}}}]}}"#
        );
        fs::write(&path, text).expect("a folder for the test");
        let path = path.to_str().expect("text");
        self.tool("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", path]);
    }

    /// The number of the broker that leads a partition; `None` while nobody does.
    pub fn leader(&self, topic: &str, partition: u32) -> Option<usize> {
        let alive = self.brokers.iter().find(|broker| broker.child.is_some())?;
        let found = metadata(alive.port, Some(topic))?;
        let (_, leader) = found.leaders.into_iter().find(|(number, _)| *number == partition as i32)?;
        usize::try_from(leader - 1).ok()
    }

    /// Writes lines to a topic, each a message, as a person would.
    pub fn produce(&self, topic: &str, lines: &str) {
        let mut command = java(&installed(), &["-Xmx128m"]);
        command.args([
            "org.apache.kafka.tools.ConsoleProducer",
            "--bootstrap-server",
            &self.bootstrap(),
            "--topic",
            topic,
        ]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("java and setpriv exist");
        child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it was started here").success());
    }

    /// Runs one of Kafka's own tools; gives what it printed.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = java(&installed(), &["-Xmx128m"]);
        command.args([class, "--bootstrap-server", &self.bootstrap()]).args(arguments);
        run(&mut command)
    }
}

impl Broker {
    /// What it has logged since its start.
    fn said(&self) -> String {
        fs::read_to_string(self.settings.with_extension("log")).unwrap_or_default()
    }
}

/// How long a process has had a core so far.
fn cpu_time(child: &Child) -> Duration {
    const TICKS_A_SECOND: u32 = 100;
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    // Behind the name, which may hold blanks, come the state and ten other fields, then the ticks in programs and in the kernel.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    Duration::from_secs(1) * ticks / TICKS_A_SECOND
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for child in self.brokers.iter_mut().filter_map(|broker| broker.child.as_mut()) {
            // Both fail for a process that has ended, which is fine.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Between two looks at a condition.
#[allow(
    clippy::disallowed_methods,
    reason = "whoever waits looks at a condition, with a limit, outside of any runtime"
)]
pub fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

/// Nobody uses them right now, and the kernel gives none of them to an outgoing connection: while a broker is away, its clients knock at
/// its port all the time, and sooner or later one of them would call from that very port, and keep it.
fn free_ports(count: usize) -> Vec<u16> {
    const PORTS: std::ops::Range<u32> = 5_000..12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Programs of tests that run at once begin at different places.
    let begin = std::process::id().wrapping_mul(613);
    let ports = PORTS.map(|_| {
        let at = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        u16::try_from(PORTS.start + at).expect("a port")
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let found: Vec<u16> = ports.filter(is_free).take(count).collect();
    assert_eq!(found.len(), count, "there are free ports");
    found
}

fn properties(
    folder: &Path,
    number: usize,
    port: u16,
    secure_port: Option<u16>,
    controllers: &[u16],
    besides: &[(&str, &str)],
) -> String {
    let brokers = controllers.len();
    let replicas = brokers.min(3);
    let voters: Vec<String> = controllers.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{}", controllers[number]);
    let mut text = String::new();
    if let Some(secure_port) = secure_port {
        listeners.push_str(&format!(",SASL_SSL://127.0.0.1:{secure_port}"));
        let keystore = installed().join("tls/k.p12");
        text.push_str(&format!(
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL\n\
             inter.broker.listener.name=PLAINTEXT\n\
             sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
             ssl.keystore.type=PKCS12\nssl.keystore.location={}\nssl.keystore.password=changeit\n",
            keystore.display()
        ));
    }
    text.push_str(&format!(
        "process.roles=broker,controller\nnode.id={}\nlisteners={listeners}\ncontroller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers={}\nlog.dirs={}\n\
         default.replication.factor={replicas}\nmin.insync.replicas={}\n\
         offsets.topic.replication.factor={replicas}\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\nlog.cleaner.dedupe.buffer.size=8388608\n\
         broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n",
        number + 1,
        voters.join(","),
        folder.join(format!("logs-{number}")).display(),
        replicas.div_ceil(2),
    ));
    for (key, value) in besides {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

fn format(installed: &Path, broker: &Broker, number: usize, controllers: &[u16], secure: bool) {
    let mut command = java(installed, &["-Xmx256m"]);
    command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).arg(&broker.settings);
    if controllers.len() == 1 {
        command.arg("--standalone");
    } else {
        let voters: Vec<String> = (controllers.iter().zip(FOLDERS))
            .enumerate()
            .map(|(at, (port, folder))| format!("{}@127.0.0.1:{port}:{folder}", at + 1))
            .collect();
        command.args(["--initial-controllers", &voters.join(",")]);
    }
    if secure && number == 0 {
        command.args(["--add-scram", &format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]")]);
    }
    run(&mut command);
}

/// A Java that ends with the thread that started it.
fn java(installed: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "java",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-XX:TieredStopAtLevel=1",
    ]);
    command.arg(format!("-XX:SharedArchiveFile={}", installed.join("classes.jsa").display())).args(options);
    command.arg("-cp").arg(installed.join("lib/*")).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

/// The folder with jars, class archive and keys; made by the first test that asks. Others wait.
fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp is in target").to_owned();
    let folder = target.join("kafka");
    fs::create_dir_all(&target).expect("target can be written");
    let lock = File::create(target.join("kafka.lock")).expect("target can be written");
    lock.lock().expect("the file system has locks");
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|root| root.join("tests/kafka/pom.xml"));
    let pom = pom.into_iter().find(|path| path.is_file()).expect("a committed file");
    let wanted = fs::read(&pom).expect("a committed file");
    let stamp = folder.join("installed-for");
    if fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return folder;
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("tls")).expect("target can be written");
    let out = format!("-Dout={}", folder.display());
    let how = "apt-get install openjdk-17-jdk-headless maven";
    let mut maven = Command::new("mvn");
    let brought = maven.args(["--quiet", "--batch-mode", "--file"]).arg(&pom).args([&out, "validate"]).output();
    let brought = brought.unwrap_or_else(|error| panic!("mvn: {error}. {how}"));
    assert!(brought.status.success(), "{}", String::from_utf8_lossy(&brought.stdout));
    make_keys(&folder.join("tls"));
    make_archive(&folder);
    fs::write(stamp, wanted).expect("target can be written");
    folder
}

/// A key pair that vouches for itself.
fn make_keys(folder: &Path) {
    let keystore = folder.join("k.p12");
    let key = ["-alias", "k", "-storetype", "PKCS12", "-storepass", "changeit"];
    let mut command = Command::new("keytool");
    command.args(["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650"]);
    command.args(["-dname", "CN=localhost", "-ext", "san=dns:localhost,ip:127.0.0.1", "-ext", "bc=ca:true"]);
    run(command.args(key).arg("-keystore").arg(&keystore));
    let mut command = Command::new("keytool");
    run(command
        .args(["-exportcert", "-rfc"])
        .args(key)
        .arg("-keystore")
        .arg(keystore)
        .arg("-file")
        .arg(folder.join("ca.pem")));
}

/// What the classes of a broker that has started look like in memory, for the next ones.
fn make_archive(folder: &Path) {
    let data = tempfile::tempdir().expect("a folder");
    let ports = free_ports(2);
    let settings = data.path().join("broker.properties");
    let text = properties(data.path(), 0, ports[0], None, &ports[1..], &[]);
    fs::write(&settings, text).expect("a folder");
    let broker = Broker { port: ports[0], secure_port: None, settings: settings.clone(), child: None };
    format(folder, &broker, 0, &ports[1..], false);
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "java",
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    ]);
    command.arg(format!("-XX:ArchiveClassesAtExit={}", folder.join("classes.jsa").display()));
    command.arg("-cp").arg(folder.join("lib/*")).arg("kafka.Kafka").arg(&settings);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("java");
    let deadline = Instant::now() + LIMIT;
    while metadata(ports[0], None).is_none_or(|found| found.brokers != 1) {
        assert!(
            Instant::now() < deadline && child.try_wait().expect("started here").is_none(),
            "no broker for the archive"
        );
        pause();
    }
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill exists");
    assert!(asked.success());
    child.wait().expect("started here");
}
