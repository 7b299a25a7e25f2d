//! An object store that fails as planned, between the store and the real files.
//!
//! Every change (put or delete) counts as a step. At the planned step the change is either not applied or applied with
//! its answer lost; after a crash nothing works any more, as for a process that is gone.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// When to fail, and how.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The step, counted from zero since the fault was planned.
    pub step: u64,
    /// Whether the change is made although the caller gets an error.
    pub applied: bool,
    /// Whether everything after it fails too.
    pub crash: bool,
}

/// Something that happens in the middle of a read.
struct Interruption {
    /// In the path of what is read.
    place: &'static str,
    happens: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interruption({})", self.place)
    }
}

/// See the head of the file.
#[derive(Debug)]
pub struct Failing {
    inner: Arc<dyn ObjectStore>,
    plan: Arc<Mutex<Plan>>,
    /// How many objects were read, or ranges of them.
    pub gets: AtomicU64,
    interruption: Mutex<Option<Interruption>>,
    /// Bytes of what was read.
    pub bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Plan {
    fault: Option<Fault>,
    steps: u64,
    crashed: bool,
}

enum Verdict {
    Work,
    Fail { applied: bool },
}

impl Failing {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        let interruption = Mutex::default();
        Arc::new(Self { inner, plan: Arc::default(), gets: AtomicU64::new(0), interruption, bytes: AtomicU64::new(0) })
    }

    /// Plans a fault; steps count from here.
    pub fn plan(&self, fault: Fault) {
        *self.plan.lock().expect("lock") = Plan { fault: Some(fault), steps: 0, crashed: false };
    }

    /// Lets something happen, once, before an object with `place` in its path is read.
    pub fn interrupt(&self, place: &'static str, happens: impl FnOnce() + Send + 'static) {
        *self.interruption.lock().expect("lock") = Some(Interruption { place, happens: Box::new(happens) });
    }

    fn interrupted(&self, path: &Path) {
        let is_there = |planned: &mut Interruption| path.as_ref().contains(planned.place);
        let planned = self.interruption.lock().expect("lock").take_if(is_there);
        if let Some(Interruption { happens, .. }) = planned {
            // On another thread: it may use this store, and waits for it in its own way.
            std::thread::spawn(happens).join().expect("it does not panic");
        }
    }

    /// Whether the planned fault has happened.
    pub fn has_failed(&self) -> bool {
        let plan = self.plan.lock().expect("lock");
        plan.fault.is_some_and(|fault| plan.steps > fault.step)
    }

    fn check_alive(&self) -> Result<()> {
        if self.plan.lock().expect("lock").crashed { Err(failure()) } else { Ok(()) }
    }
}

impl Plan {
    fn step(&mut self) -> Verdict {
        if self.crashed {
            return Verdict::Fail { applied: false };
        }
        let now = self.steps;
        self.steps += 1;
        match self.fault {
            Some(fault) if fault.step == now => {
                self.crashed = fault.crash;
                Verdict::Fail { applied: fault.applied }
            }
            _ => Verdict::Work,
        }
    }
}

fn failure() -> Error {
    Error::Generic { store: "Failing", source: std::io::Error::other("planned failure").into() }
}

#[async_trait]
impl ObjectStore for Failing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let verdict = self.plan.lock().expect("lock").step();
        match verdict {
            Verdict::Work => self.inner.put_opts(location, payload, options).await,
            Verdict::Fail { applied } => {
                if applied {
                    self.inner.put_opts(location, payload, options).await?;
                }
                Err(failure())
            }
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check_alive()?;
        self.interrupted(location);
        self.gets.fetch_add(1, Ordering::Relaxed);
        let got = self.inner.get_opts(location, options).await?;
        self.bytes.fetch_add(got.range.end - got.range.start, Ordering::Relaxed);
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let plan = self.plan.clone();
        let inner = self.inner.clone();
        locations
            .then(move |location| {
                let verdict = plan.lock().expect("lock").step();
                let inner = inner.clone();
                async move {
                    let one = futures::stream::once(async move { location }).boxed();
                    let mut deleted = inner.delete_stream(one);
                    match verdict {
                        Verdict::Work => deleted.next().await.unwrap_or_else(|| Err(failure())),
                        Verdict::Fail { applied } => {
                            if applied {
                                let _ = deleted.next().await;
                            }
                            Err(failure())
                        }
                    }
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check_alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failing({})", self.inner)
    }
}
