//! Usage and toggles in the committed state: the sections 2 and 3 of `aggregate/FORMAT.md`; change both together.

use std::sync::Arc;

use shipwake_model::sketch::Distinct;
use shipwake_model::{ReleaseId, Sketch};

use super::Product;
use super::toggles::{OfService, Served, Toggle};
use crate::state_bytes::{Reader, put_bytes, put_i64, put_text, put_u64};

impl Product {
    pub(crate) fn encode_usage(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut entries: Vec<_> = self.day.entries().collect();
        entries.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        put_u64(&mut out, entries.len() as u64);
        for (start_ns, release, counts) in entries {
            put_i64(&mut out, start_ns);
            for text in [&release.service, &release.namespace, &release.environment, &release.version] {
                put_text(&mut out, text);
            }
            for count in counts {
                put_bytes(&mut out, &Sketch::Distinct(count.clone()).encode());
            }
        }
        out
    }

    pub(crate) fn decode_usage(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        for _ in 0..reader.u64()? {
            let start_ns = reader.i64()?;
            let release = ReleaseId {
                service: reader.text()?.into(),
                namespace: reader.text()?.into(),
                environment: reader.text()?.into(),
                version: reader.text()?.into(),
            };
            let mut counts: [Distinct; 4] = Default::default();
            for count in &mut counts {
                match Sketch::decode(reader.bytes()?).map_err(|error| error.to_string())? {
                    Sketch::Distinct(found) => *count = found,
                    other => return Err(format!("a {} histogram in the place of a distinct count", other.form())),
                }
            }
            self.day.restore(start_ns, release, counts);
        }
        Ok(())
    }

    pub(crate) fn encode_toggles(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut services: Vec<_> = self.toggles.services.iter().collect();
        services.sort_by(|a, b| a.0.cmp(b.0));
        put_u64(&mut out, services.len() as u64);
        for (service, of_service) in services {
            for text in service {
                put_text(&mut out, text);
            }
            put_i64(&mut out, of_service.decided_ns);
            put_u64(&mut out, of_service.toggles.len() as u64);
            for (key, toggle) in &of_service.toggles {
                put_text(&mut out, key);
                put_i64(&mut out, toggle.changed_ns);
                put_u64(&mut out, u64::from(toggle.live));
                out.push(u8::from(toggle.hot));
                put_u64(&mut out, toggle.served.len() as u64);
                for ((variant, version), served) in &toggle.served {
                    put_text(&mut out, variant);
                    put_text(&mut out, version);
                    encode_served(served, &mut out);
                }
            }
        }
        out
    }

    pub(crate) fn decode_toggles(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        for _ in 0..reader.u64()? {
            let service = [reader.text()?.into(), reader.text()?.into(), reader.text()?.into()];
            let mut of_service = OfService { decided_ns: reader.i64()?, ..OfService::default() };
            for _ in 0..reader.u64()? {
                let key: Arc<str> = reader.text()?.into();
                let mut toggle = Toggle { changed_ns: reader.i64()?, ..Toggle::default() };
                toggle.live = u32::try_from(reader.u64()?).map_err(|error| error.to_string())?;
                toggle.hot = reader.u8()? != 0;
                for _ in 0..reader.u64()? {
                    let variant = (reader.text()?.into(), reader.text()?.into());
                    toggle.served.insert(variant, decode_served(reader)?);
                }
                of_service.toggles.insert(key, toggle);
            }
            self.toggles.restore(service, of_service);
        }
        Ok(())
    }
}

fn encode_served(served: &Served, out: &mut Vec<u8>) {
    put_u64(out, served.evaluations);
    for number in [served.first_ns, served.last_ns, served.step] {
        put_i64(out, number);
    }
    for count in served.recent {
        put_u64(out, u64::from(count));
    }
}

fn decode_served(reader: &mut Reader<'_>) -> Result<Served, String> {
    let mut served = Served {
        evaluations: reader.u64()?,
        first_ns: reader.i64()?,
        last_ns: reader.i64()?,
        step: reader.i64()?,
        ..Served::default()
    };
    for count in &mut served.recent {
        *count = u32::try_from(reader.u64()?).map_err(|error| error.to_string())?;
    }
    Ok(served)
}
