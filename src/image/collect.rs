//! Which images make room for others: never one that something needs, the one used longest ago first.
//!
//! As kubelet does it, with two differences: an image's age is counted from when it came or was used last and not from
//! when the agent saw it first, and the disk is asked again after each removal: layers are shared, so sizes tell little.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::base::time::elapsed;

use super::reference::Reference;

/// An image in containerd's store, under whatever names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its names.
    pub names: Vec<String>,
    /// The digest of its index, or of its manifest where it has no index.
    pub digest: String,
    /// The digest of its manifest for this host; empty when that cannot be told.
    pub manifest: String,
    /// The bytes of its configuration and layers as they travel.
    pub size: u64,
    /// Since when it is there.
    pub created: Timestamp,
    /// When it came last: a pull that finds it here makes it younger.
    pub updated: Timestamp,
    /// Whether somebody asked containerd to keep it.
    pub pinned: bool,
}

impl Stored {
    /// The names to show people.
    pub fn titles(&self) -> Vec<&str> {
        titles(&self.names)
    }
}

/// The names of an image to show people: those by digest, which pulls make beside those by tag, only when there are no
/// others.
pub fn titles(names: &[String]) -> Vec<&str> {
    let tagged: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !name.contains('@')).collect();
    if tagged.is_empty() { names.iter().map(String::as_str).collect() } else { tagged }
}

/// Something that needs an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Who, as `pod/namespace/name` or `daemonset/namespace/name`.
    pub who: String,
    /// The image as it is written there.
    pub reference: String,
    /// The digest of the manifest that the reference was resolved to; empty before it is.
    pub digest: String,
}

impl Need {
    /// By what a use of the image is remembered.
    pub fn key(&self) -> &str {
        if self.digest.is_empty() { &self.reference } else { &self.digest }
    }

    /// Whether it is this image that is needed. In doubt it is.
    pub fn means(&self, image: &Stored) -> bool {
        let is = |digest: &str| image.digest == digest || image.manifest == digest;
        if is(&self.digest) {
            return true;
        }
        // A name that has moved to another image does not take the first one's place.
        if !self.digest.is_empty() && !image.manifest.is_empty() {
            return false;
        }
        if image.names.contains(&self.reference) {
            return true;
        }
        let Ok(reference) = Reference::parse(&self.reference) else { return false };
        reference.digest.as_deref().is_some_and(is)
            || reference.names().iter().any(|name| image.names.contains(name))
    }
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// All bytes.
    pub capacity: u64,
    /// The bytes that are left to those without privileges.
    pub available: u64,
}

impl Disk {
    /// How much of it is used, in whole percent.
    pub fn percent(&self) -> u64 {
        let free = u128::from(self.available) * 100 / u128::from(self.capacity.max(1));
        100_u64.saturating_sub(u64::try_from(free).unwrap_or(100))
    }

    /// The bytes that must become available until no more than `low` percent are used.
    pub fn missing(&self, low: u64) -> u64 {
        let wanted = u128::from(self.capacity) * u128::from(100_u64.saturating_sub(low)) / 100;
        u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(self.available)
    }
}

/// Between which uses of the disk images are collected, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Collecting begins here; 100 for never.
    pub high: u64,
    /// It ends here.
    pub low: u64,
}

impl Marks {
    /// Whether there is too little room.
    pub fn exceeded(&self, disk: Disk) -> bool {
        self.high < 100 && disk.percent() >= self.high
    }
}

/// What must stay.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// What needs images.
    pub needs: &'a [Need],
    /// Names of images that would come back by themselves, because their archives lie in the images' directory.
    pub archived: &'a BTreeSet<String>,
    /// When images were needed last, by [`Need::key`].
    pub used: &'a BTreeMap<String, Timestamp>,
    /// How long ago an image must have come, and have been used last.
    pub minimum_age: Duration,
}

impl Rules<'_> {
    /// The images that may go, the one used longest ago first, of those the oldest.
    pub fn removable<'i>(&self, now: Timestamp, images: &'i [Stored]) -> Vec<&'i Stored> {
        let touched = |image: &Stored| self.last_used(image).max(Some(image.updated));
        let old =
            |image: &Stored| touched(image).is_some_and(|at| elapsed(at, now) >= self.minimum_age);
        let may_go = |image: &&Stored| {
            !image.pinned
                && !image.names.iter().any(|name| self.archived.contains(name))
                && old(image)
                && !self.needs.iter().any(|need| need.means(image))
        };
        let mut order: Vec<&Stored> = images.iter().filter(may_go).collect();
        order.sort_by_cached_key(|image| {
            (self.last_used(image), image.updated, image.digest.clone())
        });
        order
    }

    /// The image to remove next on the way to the low mark; `None` when there is room enough, or none to be had.
    pub fn next<'i>(
        &self,
        now: Timestamp,
        images: &'i [Stored],
        disk: Disk,
        marks: Marks,
    ) -> Option<&'i Stored> {
        (disk.missing(marks.low) > 0)
            .then(|| self.removable(now, images).first().copied())
            .flatten()
    }

    /// When an image was needed last, as far as is known.
    fn last_used(&self, image: &Stored) -> Option<Timestamp> {
        let keys = image.names.iter().chain([&image.digest, &image.manifest]);
        keys.filter_map(|key| self.used.get(key)).max().copied()
    }
}

/// Who needs an image, each once.
pub fn users<'n>(image: &Stored, needs: &'n [Need]) -> BTreeSet<&'n str> {
    needs.iter().filter(|need| need.means(image)).map(|need| need.who.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn image(number: usize, created: i64) -> Stored {
        Stored {
            names: vec![format!("r.io/i{number}:1")],
            digest: format!("sha256:{number:064}"),
            manifest: format!("sha256:1{number:063}"),
            size: 100,
            created: at(created),
            updated: at(created),
            pinned: false,
        }
    }

    fn need(reference: &str, digest: &str) -> Need {
        Need { who: "pod/x/a".into(), reference: reference.into(), digest: digest.into() }
    }

    #[test]
    fn an_image_is_needed_by_its_digest_or_where_none_is_known_by_its_names() {
        let it = image(7, 0);
        for (reference, digest, needed) in [
            ("anything", it.manifest.as_str(), true),
            ("anything", it.digest.as_str(), true),
            ("r.io/i7:1", "", true),
            ("r.io/i7:2", "", false),
            (&format!("elsewhere/x@{}", it.digest), "", true),
            ("not a reference", "", false),
        ] {
            assert_eq!(need(reference, digest).means(&it), needed, "{reference} {digest}");
        }
        let short = Stored { names: vec!["docker.io/library/busybox:latest".into()], ..it.clone() };
        assert!(need("busybox", "").means(&short));
        let moved = need("r.io/i7:1", "sha256:other");
        assert!(!moved.means(&it), "the name means another image now than this pod runs");
        let unreadable = Stored { manifest: String::new(), ..it };
        assert!(moved.means(&unreadable), "in doubt it stays");
    }

    #[test]
    fn a_disk_is_measured_as_kubelet_does() {
        let disk = |available| Disk { capacity: 1000, available };
        assert_eq!([0, 5, 149, 150, 1000].map(|free| disk(free).percent()), [100, 100, 86, 85, 0]);
        assert_eq!([0, 199, 200, 201].map(|free| disk(free).missing(80)), [200, 1, 0, 0]);
        let marks = Marks { high: 85, low: 80 };
        assert_eq!(
            [149, 150, 159, 160].map(|free| marks.exceeded(disk(free))),
            [true, true, true, false]
        );
        let never = Marks { high: 100, low: 80 };
        assert!(!never.exceeded(disk(0)), "100 switches collecting off");
        assert_eq!(Disk { capacity: 0, available: 0 }.percent(), 100);
    }

    #[test]
    fn the_one_used_longest_ago_goes_first_and_of_those_never_used_the_oldest() {
        let images = [image(1, 50), image(2, 40), image(3, 10), image(4, 20)];
        let used = BTreeMap::from([
            (images[2].manifest.clone(), at(900)),
            (images[3].names[0].clone(), at(800)),
        ]);
        let archived = BTreeSet::new();
        let rules =
            Rules { needs: &[], archived: &archived, used: &used, minimum_age: Duration::ZERO };
        let order = rules.removable(at(NOW), &images);
        let order: Vec<&str> = order.iter().map(|image| image.names[0].as_str()).collect();
        assert_eq!(order, ["r.io/i2:1", "r.io/i1:1", "r.io/i4:1", "r.io/i3:1"]);
    }

    #[test]
    fn a_name_by_digest_is_shown_only_where_there_is_no_other() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            titles(&names(&["r.io/a:1", "r.io/a@sha256:1", "r.io/b:1"])),
            ["r.io/a:1", "r.io/b:1"]
        );
        assert_eq!(titles(&names(&["r.io/a@sha256:1"])), ["r.io/a@sha256:1"]);
    }

    #[test]
    fn users_are_named_once_each() {
        let it = image(1, 0);
        let set = Need { who: "daemonset/x/a".into(), ..need("r.io/i1:1", "") };
        let needs = [need("r.io/i1:1", ""), need("other", &it.digest), need("other", ""), set];
        assert_eq!(
            users(&it, &needs).into_iter().collect::<Vec<_>>(),
            ["daemonset/x/a", "pod/x/a"]
        );
    }

    /// What a made-up image is like.
    #[derive(Debug, Clone)]
    struct Made {
        age: u64,
        size: u64,
        pinned: bool,
        archived: bool,
        needed: u8,
        used: Option<i64>,
    }

    fn made() -> impl Strategy<Value = Made> {
        (
            0_u64..300,
            1_u64..400,
            any::<bool>(),
            any::<bool>(),
            0_u8..6,
            proptest::option::of(0..NOW),
        )
            .prop_map(|(age, size, pinned, archived, needed, used)| Made {
                age,
                size,
                pinned: pinned && size % 3 == 0,
                archived: archived && size % 3 == 1,
                needed,
                used,
            })
    }

    proptest! {
        #[test]
        fn collecting_takes_no_more_than_it_must_and_nothing_that_must_stay(
            made in vec(made(), 0..12),
            available in 0_u64..1000,
            low in 0_u64..100,
            minimum_age in 0_u64..300,
        ) {
            let age = |made: &Made| NOW - i64::try_from(made.age).unwrap();
            let all: Vec<Stored> = made.iter().enumerate().map(|(number, made)| {
                Stored { size: made.size, pinned: made.pinned, ..image(number, age(made)) }
            }).collect();
            let needs: Vec<Need> = all.iter().zip(&made).filter_map(|(image, made)| match made.needed {
                0 => Some(need(&image.names[0], "")),
                1 => Some(need("x", &image.manifest)),
                2 => Some(need(&format!("x@{}", image.digest), "")),
                _ => None,
            }).collect();
            let archived: BTreeSet<String> = all.iter().zip(&made)
                .filter(|(_, made)| made.archived)
                .flat_map(|(image, _)| image.names.clone()).collect();
            let used: BTreeMap<String, Timestamp> = all.iter().zip(&made)
                .filter_map(|(image, made)| Some((image.digest.clone(), at(made.used?)))).collect();
            let minimum_age = Duration::from_secs(minimum_age);
            let rules = Rules { needs: &needs, archived: &archived, used: &used, minimum_age };
            let marks = Marks { high: 85, low };
            let stays = |number: usize| {
                let made = &made[number];
                let unused = NOW - made.used.unwrap_or(0).max(age(made));
                let young = Duration::from_secs(unused.unsigned_abs()) < minimum_age;
                made.pinned || made.archived || made.needed < 3 || young
            };

            let mut left = all.clone();
            let mut disk = Disk { capacity: 1000, available };
            let mut before: Option<Option<Timestamp>> = None;
            while let Some(victim) = rules.next(at(NOW), &left, disk, marks).cloned() {
                let number = all.iter().position(|image| *image == victim).unwrap();
                prop_assert!(!stays(number), "{:?} had to stay", made[number]);
                prop_assert!(disk.missing(low) > 0, "there was room enough");
                let last = made[number].used.map(at);
                prop_assert!(before.is_none_or(|before| before <= last), "not in order");
                before = Some(last);
                left.retain(|image| *image != victim);
                disk.available = (disk.available + victim.size).min(disk.capacity);
            }
            let more = left.iter().any(|image| !stays(all.iter().position(|it| it == image).unwrap()));
            prop_assert!(disk.missing(low) == 0 || !more, "something could still go");
        }
    }
}
