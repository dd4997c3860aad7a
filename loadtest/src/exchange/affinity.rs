//! Which of a group's back ends a request reaches, by the headers that keep a client at one of them.

use http::HeaderMap;

use super::options::Group;

/// The cookie that holds a client at a back end.
pub(super) const OVERRIDE_COOKIE: &str = "X-BackEndOverrideCookie";

/// A back end: group and position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BackEnd {
    pub(super) group: usize,
    pub(super) position: usize,
}

impl BackEnd {
    /// Its name, which stands in cookies and subscription ids.
    pub(super) fn host(self, groups: &[Group]) -> String {
        let name = groups.get(self.group).map_or("", |group| group.name.as_str());
        format!("{}mb{:04}.{}.prod.sim.example", name.to_ascii_lowercase(), self.position + 1, name.to_ascii_lowercase())
    }

    /// The value of the cookie that holds a client here.
    pub(super) fn cookie(self, groups: &[Group]) -> String {
        format!("{}~1941996295", self.host(groups))
    }

    /// The back end that a cookie's value names.
    pub(super) fn of_cookie(value: &str, groups: &[Group]) -> Option<Self> {
        all(groups).find(|back_end| back_end.cookie(groups) == value)
    }

    /// The back end on which a mailbox lives.
    pub(super) fn home(smtp: &str, group: usize, groups: &[Group]) -> Self {
        let group = group % groups.len().max(1);
        let count = groups.get(group).map_or(1, |group| group.back_ends.max(1));
        // FNV-1a: the same home in every run.
        let hash = smtp.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let position = usize::try_from(hash % count as u64).unwrap_or_default();
        Self { group, position }
    }

    /// Another back end of the same group, if it has one.
    pub(super) fn neighbour(self, groups: &[Group]) -> Self {
        let count = groups.get(self.group).map_or(1, |group| group.back_ends.max(1));
        Self { position: (self.position + 1) % count, ..self }
    }
}

fn all(groups: &[Group]) -> impl Iterator<Item = BackEnd> + '_ {
    groups.iter().enumerate().flat_map(|(group, spec)| (0..spec.back_ends.max(1)).map(move |position| BackEnd { group, position }))
}

/// The headers by which a client says where it wants to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// X-AnchorMailbox, lower case.
    pub(super) anchor: Option<String>,
    /// X-PreferServerAffinity: true.
    pub(super) affinity: bool,
    /// The value of the override cookie, if there is one.
    pub(super) cookie: Option<String>,
}

impl Wish {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let cookie = headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case(OVERRIDE_COOKIE))
            .map(|(_, value)| value.to_owned());
        Self {
            anchor: text("X-AnchorMailbox").map(|anchor| anchor.trim().to_ascii_lowercase()),
            affinity: text("X-PreferServerAffinity").is_some_and(|v| v.eq_ignore_ascii_case("true")),
            cookie,
        }
    }

    /// Affinity and cookie decide; the anchor routes when there is no cookie.
    pub(super) fn route(&self, groups: &[Group], home: impl Fn(&str) -> Option<BackEnd>) -> BackEnd {
        let held = self.cookie.as_deref().filter(|_| self.affinity);
        let held = held.and_then(|value| BackEnd::of_cookie(value, groups));
        let anchored = || self.anchor.as_deref().and_then(&home);
        held.or_else(anchored).unwrap_or(BackEnd { group: 0, position: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_decides_only_together_with_affinity_and_the_anchor_otherwise() {
        let groups = [Group::named("ALPHA"), Group::named("BETA")];
        let anchored = BackEnd { group: 1, position: 2 };
        let held = BackEnd { group: 0, position: 1 };
        let mut headers = HeaderMap::new();
        headers.insert("X-AnchorMailbox", "Anna@Corp.example".parse().unwrap());
        let cookie = format!("a=b; {OVERRIDE_COOKIE}={}", held.cookie(&groups));
        headers.insert("cookie", cookie.parse().unwrap());
        let home = |smtp: &str| (smtp == "anna@corp.example").then_some(anchored);
        assert_eq!(Wish::read(&headers).route(&groups, home), anchored);
        headers.insert("X-PreferServerAffinity", "True".parse().unwrap());
        assert_eq!(Wish::read(&headers).route(&groups, home), held);
        headers.insert("cookie", "X-BackEndOverrideCookie=unknown~1".parse().unwrap());
        assert_eq!(Wish::read(&headers).route(&groups, home), anchored);
    }
}
