//! Tests of refreshes that use stored metadata while no mirror can be reached.

use std::sync::Mutex;

use chrono::TimeDelta;
use lastmile_metadata::TargetPath;

use super::*;
use crate::event::{Event, EventSink};
use crate::net::fetch::FetchError;
use crate::store::directory::DirectoryStore;
use crate::test_repository::{TestRepository, now};

#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<Vec<Event>>>);

impl EventSink for Recorded {
    fn handle(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[tokio::test]
async fn an_application_can_use_stored_metadata_while_no_mirror_can_be_reached() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let events = Recorded::default();
    let store = || DirectoryStore::open(dir.path()).unwrap();
    let lenient = repository.updater().store(store()).event_sink(events.clone()).unreachable(Unreachable::UseStored);
    let lenient = lenient.build().unwrap();
    let timestamp = repository.file("timestamp.json");
    repository.answer("http://a/timestamp.json", Err(FetchError::NotFound));
    // Without stored metadata, the refresh fails.
    assert!(matches!(lenient.refresh_at(now()).await, Err(Error::Network(_))));
    repository.put("timestamp.json", &timestamp);
    lenient.refresh_at(now()).await.unwrap();
    assert!(events.0.lock().unwrap().is_empty());
    repository.answer("http://a/timestamp.json", Err(FetchError::NotFound));
    let mut session = lenient.refresh_at(now()).await.unwrap();
    assert_eq!(session.trusted().timestamp().version.get(), 1);
    let recorded = std::mem::take(&mut *events.0.lock().unwrap());
    let until = now() + TimeDelta::days(1);
    assert!(matches!(&recorded[..], [Event::UsingStored { until: found, .. }] if *found == until), "{recorded:?}");
    let text = format!(
        "using the stored metadata, which is valid until {}: cannot fetch",
        lastmile_metadata::format_time(&until)
    );
    assert!(recorded[0].to_string().starts_with(&text), "{}", recorded[0]);
    // A delegated role that is not stored is still fetched.
    session.find(&TargetPath::new("docs/y").unwrap()).await.unwrap().unwrap();
    // By default, a refresh fails if no mirror can be reached. Expired or refused metadata is always an error.
    assert!(matches!(
        repository.updater().store(store()).build().unwrap().refresh_at(now()).await,
        Err(Error::Network(_))
    ));
    assert!(matches!(lenient.refresh_at(until).await, Err(Error::Refused(_))));
    repository.put("timestamp.json", b"{}");
    assert!(matches!(lenient.refresh_at(now()).await, Err(Error::Refused(_))));
}
