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
    inside,
    out,
    page_query,
    user_agent,
)
from billing_app.api.callers import Now, ServicesNow
from billing_app.api.csrf import require_own_origin
from billing_app.billing.errors import (
    EmailTakenError,
    InvalidInputError,
    NotAuthenticatedError,
    TooManyAttemptsError,
)
from billing_app.billing.identity import sessions
from billing_app.billing.identity.sessions import SignedIn
from billing_app.composition import Services
from billing_app.routes import (
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
        await services.attempts.check_sign_in(email.strip().lower(), client_address(request))
        signed_in = await _sign_in(request, services, email, password, now)
    except TooManyAttemptsError:
        return back(SIGN_IN, "rate_limited", next_page)
    except NotAuthenticatedError:
        return back(SIGN_IN, "invalid", next_page)
    except OperationalError:
        return back(SIGN_IN, "unreachable", next_page)
    return inside(services, signed_in, next_page)


@router.post(USER_CREATE, include_in_schema=False)
async def sign_up(
    request: Request,
    services: ServicesNow,
    now: Now,
    email: Text = "",
    password: Text = "",
    name: Text = "",
) -> RedirectResponse:
    try:
        await services.attempts.check_sign_up(client_address(request))
        await sessions.sign_up(
            services.database,
            email=email,
            password=password,
            name=name,
            terms=services.terms,
            now=now,
        )
        signed_in = await _sign_in(request, services, email, password, now)
    except TooManyAttemptsError:
        return back(SIGN_UP, "rate_limited")
    except EmailTakenError:
        return back(SIGN_UP, "unavailable")
    except InvalidInputError as error:
        return back(SIGN_UP, f"invalid_{error.extensions.get('field', 'form')}")
    except OperationalError:
        return back(SIGN_UP, "unreachable")
    return inside(services, signed_in, DASHBOARD)


@router.post(SESSION_DELETE, include_in_schema=False)
async def sign_out(request: Request, services: ServicesNow, now: Now) -> RedirectResponse:
    token = request.cookies.get(SESSION_COOKIE)
    try:
        if token:
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
