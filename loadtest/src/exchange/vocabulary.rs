//! The words of the schema that a request may use: properties, well-known folders, operations and versions.

use std::sync::OnceLock;

/// UnindexedFieldURIType: the properties that have a name of their own, sorted.
const FIELDS: &str = include_str!("field-uris.txt");

/// DistinguishedFolderIdNameType.
const FOLDERS: &str = "adminauditlogs allcategorizeditems allcontacts allitems archivedeleteditems archiveinbox archivemsgfolderroot \
archiverecoverableitemsdeletions archiverecoverableitemspurges archiverecoverableitemsroot archiverecoverableitemsversions archiveroot \
calendar companycontacts conflicts contacts conversationhistory deleteditems directory drafts favorites imcontactlist inbox journal \
junkemail localfailures msgfolderroot mycontacts notes outbox peopleconnect publicfoldersroot quickcontacts recipientcache \
recoverableitemsdeletions recoverableitemspurges recoverableitemsroot recoverableitemsversions root searchfolders sentitems \
serverfailures sharepointnotifications syncissues tasks todosearch voicemail";

/// Operations of the service description that this server does not carry out.
const NOT_SIMULATED: &str = "AddDelegate AddDistributionGroupToImList AddImContactToGroup AddImGroup AddNewImContactToGroup \
AddNewTelUriContactToGroup ApplyConversationAction ArchiveItem ConvertId CopyFolder CopyItem CreateAttachment CreateFolder \
CreateFolderPath CreateItem CreateManagedFolder CreateUserConfiguration DeleteAttachment DeleteFolder DeleteItem \
DeleteUserConfiguration DisableApp DisconnectPhoneCall EmptyFolder ExecuteDiagnosticMethod ExpandDL ExportItems FindConversation \
FindFolder FindMailboxStatisticsByKeywords FindMessageTrackingReport FindPeople GetAppManifests GetAppMarketplaceUrl GetAttachment \
GetClientAccessToken GetClientExtension GetConversationItems GetDelegate GetDiscoverySearchConfiguration GetEncryptionConfiguration \
GetHoldOnMailboxes GetImItemList GetImItems GetInboxRules GetMailTips GetMessageTrackingReport GetNonIndexableItemDetails \
GetNonIndexableItemStatistics GetPasswordExpirationDate GetPersona GetPhoneCallInformation GetReminders GetRoomLists GetRooms \
GetSearchableMailboxes GetServerTimeZones GetServiceConfiguration GetSharingFolder GetSharingMetadata GetUserAvailabilityRequest \
GetUserConfiguration GetUserOofSettingsRequest GetUserPhoto GetUserRetentionPolicyTags InstallApp MarkAllItemsAsRead MarkAsJunk \
MoveFolder MoveItem PerformReminderAction PlayOnPhone RefreshSharingFolder RemoveContactFromImList RemoveDelegate \
RemoveDistributionGroupFromImList RemoveImContactFromGroup RemoveImGroup SearchMailboxes SendItem SetClientExtension \
SetEncryptionConfiguration SetHoldOnMailboxes SetImGroup SetUserOofSettingsRequest SyncFolderHierarchy UninstallApp UpdateDelegate \
UpdateFolder UpdateInboxRules UpdateItem UpdateUserConfiguration UploadItems";

/// ExchangeVersionType, oldest first, and the dated versions of Exchange Online.
const VERSIONS: [&str; 19] = [
    "Exchange2007",
    "Exchange2007_SP1",
    "Exchange2010",
    "Exchange2010_SP1",
    "Exchange2010_SP2",
    "Exchange2013",
    "Exchange2013_SP1",
    "Exchange2015",
    "Exchange2016",
    "V2015_10_05",
    "V2016_01_06",
    "V2016_04_13",
    "V2016_07_13",
    "V2016_10_10",
    "V2017_01_07",
    "V2017_04_14",
    "V2017_07_11",
    "V2017_10_09",
    "V2018_01_08",
];

/// Properties that came with Exchange 2013; the others that matter here are older than any version that has streams.
const SINCE_2013: [&str; 17] = [
    "item:ArchiveTag",
    "item:BlockStatus",
    "item:EntityExtractionResult",
    "item:Flag",
    "item:GroupingAction",
    "item:HasBlockedImages",
    "item:IconIndex",
    "item:InstanceKey",
    "item:IsClutter",
    "item:NextPredictedAction",
    "item:NormalizedBody",
    "item:PolicyTag",
    "item:PredictedActionReasons",
    "item:Preview",
    "item:RetentionDate",
    "item:RightsManagementLicenseData",
    "item:TextBody",
];

/// The version of the schema that a request was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(usize);

impl Version {
    /// "Requests that do not include version headers are handled as requests from the initial release version of Exchange 2007."
    pub(super) const UNSAID: Self = Self(0);
    /// Streaming notifications came with it.
    pub(super) const E2010_SP1: Self = Self(3);
    /// The last of all.
    pub(super) const LATEST: Self = Self(VERSIONS.len() - 1);
    const E2013: Self = Self(5);

    /// The version of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        VERSIONS.iter().position(|known| *known == name).map(Self)
    }

    /// Whether its schema has this property.
    pub(super) fn has_field(self, uri: &str) -> bool {
        static KNOWN: OnceLock<Vec<&str>> = OnceLock::new();
        let known = KNOWN.get_or_init(|| {
            let mut all: Vec<&str> = FIELDS.lines().collect();
            all.sort_unstable();
            all
        });
        known.binary_search(&uri).is_ok() && (self >= Self::E2013 || !SINCE_2013.contains(&uri))
    }
}

/// Whether a folder can have this well-known name.
pub(super) fn is_folder_name(name: &str) -> bool {
    FOLDERS.split(' ').any(|known| known == name)
}

/// Whether the real server carries this operation out and this one does not.
pub(super) fn is_not_simulated(operation: &str) -> bool {
    NOT_SIMULATED.split(' ').any(|known| known == operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_known_to_the_versions_that_have_it() {
        let has = |version: &str, uri: &str| Version::named(version).unwrap().has_field(uri);
        assert!(has("Exchange2010_SP1", "item:Subject") && has("Exchange2013", "item:Preview"));
        assert!(!has("Exchange2010_SP2", "item:Preview"), "came with Exchange 2013");
        assert!(!has("Exchange2016", "item:subject") && !has("Exchange2016", "message:Subject"), "properties have one name");
        assert!(has("V2018_01_08", "calendar:Start") && Version::named("Exchange2011").is_none());
        assert_eq!(VERSIONS[Version::E2010_SP1.0], "Exchange2010_SP1");
        assert_eq!(VERSIONS[Version::E2013.0], "Exchange2013");
    }
}
