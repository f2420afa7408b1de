"""What people choose to be mailed about."""

from collections.abc import Mapping
from typing import Final

from billing_app.db.enums import MailTopic, NoticeKind

TOPIC_OF: Final[Mapping[NoticeKind, MailTopic]] = {
    NoticeKind.RECEIPT: MailTopic.RECEIPTS,
    NoticeKind.PAYMENT_FAILED: MailTopic.FAILED_PAYMENTS,
    NoticeKind.PLAN_SUSPENDED: MailTopic.FAILED_PAYMENTS,
    NoticeKind.RENEWAL_COMING: MailTopic.RENEWALS,
    NoticeKind.PLAN_CHANGED: MailTopic.PLAN_CHANGES,
    NoticeKind.CHANGE_SCHEDULED: MailTopic.PLAN_CHANGES,
    NoticeKind.CHANGE_WITHDRAWN: MailTopic.PLAN_CHANGES,
    NoticeKind.PLAN_CANCELLED: MailTopic.PLAN_CHANGES,
    NoticeKind.PLAN_RESUMED: MailTopic.PLAN_CHANGES,
    NoticeKind.PLAN_ENDED: MailTopic.PLAN_CHANGES,
    NoticeKind.TOP_UP_STOPPED: MailTopic.TOP_UPS,
    NoticeKind.KEY_EXPIRING: MailTopic.KEYS,
    NoticeKind.SUPPORT: MailTopic.SUPPORT,
}
