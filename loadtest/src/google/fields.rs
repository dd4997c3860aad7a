//! The fields of a message to FCM, in either of the two spellings that Google reads: `collapse_key` and `collapseKey`.

#![expect(dead_code, reason = "most fields are only looked at for their name and type")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A part that is valid and means nothing here.
type Ignored = Map<String, Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    #[serde(alias = "validateOnly", default)]
    pub(super) validate_only: bool,
    pub(super) message: Option<Message>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) token: Option<String>,
    /// The later name of `token`, which Google's SDKs announce.
    pub(super) fid: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) condition: Option<String>,
    pub(super) name: Option<String>,
    pub(super) notification: Option<Notification>,
    #[serde(default)]
    pub(super) data: BTreeMap<String, String>,
    pub(super) android: Option<Android>,
    pub(super) apns: Option<Ignored>,
    pub(super) webpush: Option<Ignored>,
    #[serde(alias = "fcmOptions")]
    pub(super) fcm_options: Option<Ignored>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notification {
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Android {
    pub(super) priority: Option<String>,
    pub(super) ttl: Option<String>,
    #[serde(alias = "collapseKey")]
    pub(super) collapse_key: Option<String>,
    #[serde(alias = "restrictedPackageName")]
    pub(super) restricted_package_name: Option<String>,
    #[serde(default)]
    pub(super) data: BTreeMap<String, String>,
    #[serde(alias = "directBootOk")]
    pub(super) direct_boot_ok: Option<bool>,
    #[serde(alias = "bandwidthConstrainedOk")]
    pub(super) bandwidth_constrained_ok: Option<bool>,
    #[serde(alias = "restrictedSatelliteOk")]
    pub(super) restricted_satellite_ok: Option<bool>,
    #[serde(alias = "fcmOptions")]
    pub(super) fcm_options: Option<Ignored>,
    pub(super) notification: Option<AndroidNotification>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AndroidNotification {
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) icon: Option<String>,
    pub(super) color: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) sound: Option<String>,
    #[serde(alias = "channelId")]
    pub(super) channel_id: Option<String>,
    #[serde(alias = "clickAction")]
    pub(super) click_action: Option<String>,
    pub(super) image: Option<String>,
    pub(super) ticker: Option<String>,
    #[serde(alias = "eventTime")]
    pub(super) event_time: Option<String>,
    pub(super) proxy: Option<String>,
    #[serde(alias = "bypassProxyNotification")]
    pub(super) bypass_proxy_notification: Option<bool>,
    pub(super) sticky: Option<bool>,
    #[serde(alias = "localOnly")]
    pub(super) local_only: Option<bool>,
    #[serde(alias = "notificationCount")]
    pub(super) notification_count: Option<i32>,
    #[serde(alias = "notificationPriority")]
    pub(super) notification_priority: Option<String>,
    pub(super) visibility: Option<String>,
    #[serde(alias = "defaultSound")]
    pub(super) default_sound: Option<bool>,
    #[serde(alias = "defaultVibrateTimings")]
    pub(super) default_vibrate_timings: Option<bool>,
    #[serde(alias = "defaultLightSettings")]
    pub(super) default_light_settings: Option<bool>,
    #[serde(alias = "vibrateTimings", default)]
    pub(super) vibrate_timings: Vec<String>,
    #[serde(alias = "lightSettings")]
    pub(super) light_settings: Option<Ignored>,
    #[serde(alias = "titleLocKey")]
    pub(super) title_loc_key: Option<String>,
    #[serde(alias = "bodyLocKey")]
    pub(super) body_loc_key: Option<String>,
    #[serde(alias = "titleLocArgs", default)]
    pub(super) title_loc_args: Vec<String>,
    #[serde(alias = "bodyLocArgs", default)]
    pub(super) body_loc_args: Vec<String>,
}
