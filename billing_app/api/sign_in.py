"""Sign-up, sign-in and sign-out by plain HTML form posts, so the cookie can be HttpOnly.

Each responds with a 303 to a page. Posts must come from this site (Origin).
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import OperationalError

from billing_app.api.auth_forms import (
    Text,
    back,
    client_address,
    form_error,
    held_up,
    inside,
    out,
    page_query,
    user_agent,
)
from billing_app.api.callers import Now, ServicesNow
from billing_app.api.csrf import require_own_origin
from billing_app.billing.accounts.portal_sessions import is_portal_token, sign_out_portal
from billing_app.billing.errors import (
    EmailTakenError,
    InvalidInputError,
    NotAuthenticatedError,
    TooManyAttemptsError,
)
from billing_app.billing.identity import sessions
from billing_app.billing.identity.known_browsers import is_known
from billing_app.billing.identity.rate_limits import Counted
from billing_app.billing.identity.sessions import SignedIn
from billing_app.composition import Services
from billing_app.jobs.mail import get_mail_queue
from billing_app.routes import (
    BROWSER_COOKIE,
    DASHBOARD,
    SESSION_COOKIE,
    SESSION_CREATE,
    SESSION_DELETE,
    SESSION_DELETE_ALL,
    SIGN_IN,
    SIGN_UP,
    USER_CREATE,
)

router = APIRouter(tags=["sign-in"], dependencies=[Depends(require_own_origin)])


@router.post(SESSION_CREATE, include_in_schema=False)
async def sign_in(
    request: Request,
    services: ServicesNow,
    now: Now,
    email: Text = "",
    password: Text = "",
    wanted: Annotated[str, Form(alias="next", max_length=2048)] = DASHBOARD,
) -> RedirectResponse:
    next_page = wanted if wanted != DASHBOARD else page_query(request, "next") or DASHBOARD
    try:
        counted = await _count_attempt(request, services, email, now)
        signed_in = await _sign_in(request, services, email, password, now)
        await services.attempts.forget(counted)
    except TooManyAttemptsError as error:
        return held_up(SIGN_IN, error, next_page)
    except NotAuthenticatedError:
        return back(SIGN_IN, "invalid", next_page)
    except OperationalError:
        return back(SIGN_IN, "unreachable", next_page)
    return await inside(request, services, signed_in, now, next_page)


@router.post(USER_CREATE, include_in_schema=False)
async def sign_up(
    request: Request,
    services: ServicesNow,
    now: Now,
    email: Text = "",
    password: Text = "",
    name: Text = "",
) -> RedirectResponse:
    next_page = page_query(request, "next") or DASHBOARD
    try:
        await services.attempts.check_sign_up(client_address(request), now)
        await sessions.sign_up(
            services.database,
            email=email,
            password=password,
            name=name,
            terms=services.terms,
            now=now,
            mail_queue=get_mail_queue(),
        )
        signed_in = await _sign_in(request, services, email, password, now)
    except TooManyAttemptsError as error:
        return held_up(SIGN_UP, error, next_page)
    except EmailTakenError:
        return back(SIGN_UP, "unavailable", next_page)
    except InvalidInputError as error:
        return back(SIGN_UP, form_error(error), next_page)
    except OperationalError:
        return back(SIGN_UP, "unreachable", next_page)
    return await inside(request, services, signed_in, now, next_page)


@router.post(SESSION_DELETE, include_in_schema=False)
async def sign_out(request: Request, services: ServicesNow, now: Now) -> RedirectResponse:
    token = request.cookies.get(SESSION_COOKIE)
    try:
        if token and is_portal_token(token):
            await sign_out_portal(services.database, token, now)
        elif token:
            await sessions.sign_out(services.database, token, now)
    except OperationalError:
        return out(services, "signed_out_here")
    return out(services)


@router.post(SESSION_DELETE_ALL, include_in_schema=False)
async def sign_out_everywhere(
    request: Request, services: ServicesNow, now: Now
) -> RedirectResponse:
    token = request.cookies.get(SESSION_COOKIE)
    try:
        person = await sessions.authenticate(services.database, token, now) if token else None
        if person is not None:
            await sessions.sign_out_everywhere(services.database, person, now)
    except OperationalError:
        return back(SIGN_IN, "unreachable")
    return out(services)


async def _count_attempt(request: Request, services: Services, email: str, now: Now) -> Counted:
    """Raises TooManyAttemptsError."""
    browser = request.cookies.get(BROWSER_COOKIE, "")
    if browser and not await is_known(services.database, browser, email, now):
        browser = ""
    address = client_address(request)
    return await services.attempts.check_sign_in(email.strip().lower(), address, browser, now)


async def _sign_in(
    request: Request, services: Services, email: str, password: str, now: Now
) -> SignedIn:
    return await sessions.sign_in(
        services.database,
        email=email,
        password=password,
        user_agent=user_agent(request),
        session_days=services.settings.session_days,
        now=now,
    )
