//! Installs what the client programs need, each with its language's own tool and from its committed versions, under
//! `target/clients`. What was installed for the same files before is used again. A tool that is missing is named, with the
//! way to get it: a test that could not run has failed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the sources of the programs are.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp is in target").join("clients")
}

/// The Python of a virtual environment with the SDK, Flask and the auto-instrumentation.
pub fn python() -> PathBuf {
    need("python3", "apt-get install python3 python3-venv");
    let requirements = sources().join("python/requirements.txt");
    let folder = once("python", &[&requirements], |folder| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder), "apt-get install python3-venv");
        let pip = folder.join("bin/pip");
        run(Command::new(pip).args(["install", "--quiet", "--no-deps", "--requirement"]).arg(&requirements), "");
    });
    folder.join("bin/python")
}

/// The script to give to `node`, beside its packages.
pub fn javascript() -> PathBuf {
    need("node", "Node 20: see https://nodejs.org");
    let source = sources().join("javascript");
    let inputs = ["package.json", "package-lock.json", "send.js"].map(|name| source.join(name));
    let folder = once("javascript", &inputs, |folder| {
        for input in inputs.iter().chain([&source.join(".npmrc")]) {
            fs::copy(input, folder.join(input.file_name().expect("a file"))).expect("the sources are readable");
        }
        run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-progress"]).current_dir(folder), "");
    });
    folder.join("send.js")
}

/// Sentry's command line.
pub fn sentry_cli() -> PathBuf {
    need("node", "Node 20: see https://nodejs.org");
    let source = sources().join("sentry");
    let inputs = ["package.json", "package-lock.json"].map(|name| source.join(name));
    let folder = once("sentry", &inputs, |folder| {
        for input in inputs.iter().chain([&source.join(".npmrc")]) {
            fs::copy(input, folder.join(input.file_name().expect("a file"))).expect("the sources are readable");
        }
        run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-progress"]).current_dir(folder), "");
    });
    folder.join("node_modules/.bin/sentry-cli")
}

/// A folder with `classes`, what they need in `lib`, and the agent in `agent`.
pub fn java() -> PathBuf {
    let how = "apt-get install openjdk-17-jdk-headless maven";
    need("javac", how);
    need("mvn", how);
    let source = sources().join("java");
    let programs = ["Send", "App"].map(|name| source.join(format!("src/main/java/shop/{name}.java")));
    let pom = source.join("pom.xml");
    once("java", &[&pom, &programs[0], &programs[1]], |folder| {
        let out = format!("-Dout={}", folder.display());
        run(Command::new("mvn").args(["--quiet", "--batch-mode", "--file"]).arg(&pom).args([&out, "compile"]), how);
    })
}

/// The program in Go.
pub fn go() -> PathBuf {
    go_program("go", "send")
}

/// A Collector that takes OTLP and passes it on.
pub fn collector() -> PathBuf {
    go_program("collector", "collector")
}

fn go_program(name: &str, program: &str) -> PathBuf {
    need("go", "Go 1.26 or newer: see https://go.dev/dl");
    let source = sources().join(name);
    let inputs = ["go.mod", "go.sum", "main.go"].map(|input| source.join(input));
    let folder = once(name, &inputs, |folder| {
        let build = ["build", "-trimpath", "-ldflags=-s -w", "-o"];
        run(Command::new("go").args(build).arg(folder.join(program)).arg(".").current_dir(&source), "");
    });
    folder.join(program)
}

/// Runs `install` for an empty folder, unless it has been run for the same contents of `inputs`. Other tests wait.
fn once(name: &str, inputs: &[impl AsRef<Path>], install: impl FnOnce(&Path)) -> PathBuf {
    let folder = installed().join(name);
    fs::create_dir_all(installed()).expect("target can be written");
    let lock = File::create(installed().join(format!("{name}.lock"))).expect("target can be written");
    lock.lock().expect("the file system has locks");
    let wanted: Vec<u8> = inputs.iter().flat_map(|input| fs::read(input).expect("a committed file")).collect();
    let stamp = folder.join("installed-for");
    if fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return folder;
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("target can be written");
    install(&folder);
    fs::write(stamp, wanted).expect("target can be written");
    folder
}

fn need(tool: &str, how: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|folder| folder.join(tool).is_file()));
    assert!(found, "{tool} is missing, and this test needs it: {how}");
}

fn run(command: &mut Command, how: &str) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}. {how}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}. {how}\n{said}", output.status);
}
