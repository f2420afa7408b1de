"""The composition root: builds settings, database and services, once per process."""

import asyncio
from dataclasses import dataclass
from functools import cache

from billing_app import logs, tracing
from billing_app.billing.accounts.closing import Closing
from billing_app.billing.accounts.provisioning import Provisioning
from billing_app.billing.accounts.service import AccountFinder
from billing_app.billing.alerts.watch import AlertWatch
from billing_app.billing.executions.service import Executions
from billing_app.billing.identity.api_keys import KeyRing
from billing_app.billing.identity.rate_limits import AttemptLimits
from billing_app.billing.mail import Mailer
from billing_app.billing.overage.late_settlement import OverageSettlements
from billing_app.billing.plans.trials import TrialTerms
from billing_app.billing.staff.customers.disputes import Disputes
from billing_app.billing.staff.operations.provider_links import ProviderLinks
from billing_app.billing.staff.repairs.provider_driver import record_failure
from billing_app.billing.staff.repairs.repair import RepairServices
from billing_app.billing.subscriptions.installation import Installation
from billing_app.billing.subscriptions.next_reads import DenialReads
from billing_app.billing.subscriptions.polled_plans import PolledPlans
from billing_app.billing.subscriptions.provider import PaymentProvider
from billing_app.billing.subscriptions.service import Subscriptions
from billing_app.billing.subscriptions.top_up_watch import TopUpWatch
from billing_app.billing.subscriptions.top_ups import TopUps
from billing_app.billing.usage.polled import PolledUsage
from billing_app.billing.webhooks_out.deliveries import WebhookDeliveries
from billing_app.billing.webhooks_out.endpoints import WebhookEndpoints
from billing_app.db.embedded import database_url
from billing_app.db.engine import Database
from billing_app.db.read_pool import ReadPool
from billing_app.db.urls import for_asyncpg
from billing_app.payments.disputes import StripeDisputes
from billing_app.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Services:
    """The services that routes, states and jobs call. The first request connects."""

    settings: Settings
    database: Database
    terms: TrialTerms
    keys: KeyRing
    accounts: AccountFinder
    provisioning: Provisioning
    closing: Closing
    executions: Executions
    polled_plans: PolledPlans
    denial_reads: DenialReads
    polled_usage: PolledUsage
    read_pool: ReadPool
    attempts: AttemptLimits
    mailer: Mailer | None
    provider: PaymentProvider
    installation: Installation
    subscriptions: Subscriptions
    repairs: RepairServices
    links: ProviderLinks
    disputes: Disputes
    settlements: OverageSettlements
    top_ups: TopUps
    top_up_watch: TopUpWatch
    alert_watch: AlertWatch
    webhook_endpoints: WebhookEndpoints
    webhook_deliveries: WebhookDeliveries

    async def close(self) -> None:
        await self.executions.close()
        await self.keys.close()
        await self.top_up_watch.close()
        await self.alert_watch.close()
        await self.provider.close()
        await self.read_pool.close()
        await self.database.dispose()
        await asyncio.to_thread(tracing.flush)


def build_services(settings: Settings, url: str) -> Services:
    logs.configure(settings.log_format)
    tracing.start()
    database = Database(url)
    provider, installation = _provider(settings, database)
    terms = TrialTerms(
        public_organization_id=settings.public_org_id,
        executions=settings.trial_plan_executions,
        days=settings.trial_plan_days,
        one_per_person=settings.one_trial_per_person,
    )
    subscriptions = Subscriptions(
        database,
        provider,
        grace_days=settings.payment_grace_days,
        bridge_hours=settings.renewal_bridge_hours,
        one_trial=settings.one_trial_per_person,
        record_failure=record_failure,
    )
    top_ups = TopUps(database, provider, subscriptions.syncing)
    top_up_watch = TopUpWatch(top_ups)
    takes_payments = settings.stripe_secret_key is not None
    alert_watch = AlertWatch(database)
    executions = Executions(
        for_asyncpg(url),
        terms,
        spent=top_up_watch.spent if takes_payments else None,
        alerts=alert_watch,
    )
    links = _links(settings)
    read_pool = ReadPool(url)
    return Services(
        settings=settings,
        database=database,
        terms=terms,
        keys=KeyRing(database),
        accounts=AccountFinder(database, terms),
        provisioning=Provisioning(database, terms),
        closing=Closing(database, subscriptions),
        executions=executions,
        polled_plans=PolledPlans(read_pool, database),
        denial_reads=DenialReads(read_pool, database),
        polled_usage=PolledUsage(read_pool),
        read_pool=read_pool,
        attempts=AttemptLimits(database),
        mailer=_mailer(settings),
        provider=provider,
        installation=installation,
        subscriptions=subscriptions,
        repairs=RepairServices(database, executions, provider, subscriptions.provider_requests),
        links=links,
        disputes=Disputes(database, links, StripeDisputes()),
        settlements=OverageSettlements(database, provider, subscriptions.syncing),
        top_ups=top_ups,
        top_up_watch=top_up_watch,
        alert_watch=alert_watch,
        webhook_endpoints=WebhookEndpoints(database, allow_private=settings.webhook_allow_private),
        webhook_deliveries=WebhookDeliveries(database),
    )


def _provider(settings: Settings, database: Database) -> tuple[PaymentProvider, Installation]:
    """Stripe, or a stand-in without a key: then everything but payments works."""
    if settings.stripe_secret_key is None:
        from billing_app.payments.unconfigured import NoProvider

        nobody = NoProvider()
        return nobody, Installation(database, nobody.account)
    from billing_app.payments.gateway import StripeGateway
    from billing_app.payments.rate_budget import RateBudget

    key = settings.stripe_secret_key.get_secret_value()
    gateway = StripeGateway(key, settings.stripe_api_base, computes_tax=settings.stripe_tax)
    installation = Installation(database, gateway.account)
    gateway.ask_before_writing(installation.permit)
    if settings.stripe_rate is not None:
        gateway.keep_to(RateBudget(database, settings.stripe_rate))
    return gateway, installation


def _mailer(settings: Settings) -> Mailer | None:
    """None when mail is not configured; the pages say so."""
    if settings.smtp_host and settings.mail_from:
        from billing_app.mail.smtp import SmtpMailer, SmtpServer

        password = settings.smtp_password
        server = SmtpServer(
            host=settings.smtp_host,
            port=settings.smtp_port,
            security=settings.smtp_security,
            username=settings.smtp_username,
            password=password.get_secret_value() if password else None,
        )
        return SmtpMailer(server, settings.mail_from)
    if settings.mail_directory:
        from billing_app.mail.folder import FolderMailer

        return FolderMailer(settings.mail_directory, settings.mail_from)
    return None


def _links(settings: Settings) -> ProviderLinks:
    from billing_app.payments.dashboard import Dashboard

    key = settings.stripe_secret_key
    return Dashboard(key.get_secret_value() if key else None, settings.stripe_api_base)


@cache
def get_services() -> Services:
    """The services of this process, on the configured database or the embedded one."""
    settings = load_settings()
    return build_services(settings, database_url(settings))
