"""Signing up, in and out by plain HTML form posts, so that the cookie can be HttpOnly.

Each answers 303 to a page. A post must come from our own pages (Origin), which with the
SameSite cookie keeps other sites out.
"""

from typing import Annotated, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import OperationalError

from billing_app.api.callers import Now, ServicesNow
from billing_app.api.own_site import require_own_origin
from billing_app.billing import sessions
from billing_app.billing.errors import (
    EmailTakenError,
    InvalidInputError,
    NotAuthenticatedError,
    TooManyAttemptsError,
)
from billing_app.billing.sessions import SignedIn
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

Text = Annotated[str, Form(max_length=2048)]
SEE_OTHER: Final = 303


router = APIRouter(tags=["sign-in"], dependencies=[Depends(require_own_origin)])


@router.post(SESSION_CREATE, include_in_schema=False)
async def sign_in(
    request: Request,
    services: ServicesNow,
    now: Now,
    email: Text = "",
    password: Text = "",
    told: Annotated[str, Form(alias="next", max_length=2048)] = DASHBOARD,
) -> RedirectResponse:
    next_page = _next_page(request, told)
    try:
        await services.attempts.check_sign_in(email.strip().lower(), _address(request))
        signed_in = await _sign_in(request, services, email, password, now)
    except TooManyAttemptsError:
        return _back(SIGN_IN, "rate_limited", next_page)
    except NotAuthenticatedError:
        return _back(SIGN_IN, "invalid", next_page)
    except OperationalError:
        return _back(SIGN_IN, "unreachable", next_page)
    return _forward(services, signed_in, next_page)


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
        await services.attempts.check_sign_up(_address(request))
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
        return _back(SIGN_UP, "rate_limited")
    except EmailTakenError:
        return _back(SIGN_UP, "unavailable")
    except InvalidInputError as error:
        return _back(SIGN_UP, f"invalid_{error.facts.get('field', 'form')}")
    except OperationalError:
        return _back(SIGN_UP, "unreachable")
    return _forward(services, signed_in, DASHBOARD)


@router.post(SESSION_DELETE, include_in_schema=False)
async def sign_out(request: Request, services: ServicesNow, now: Now) -> RedirectResponse:
    token = request.cookies.get(SESSION_COOKIE)
    try:
        if token:
            await sessions.sign_out(services.database, token, now)
    except OperationalError:
        return _out(services, "signed_out_here")
    return _out(services)


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
        return _back(SIGN_IN, "unreachable")
    return _out(services)


async def _sign_in(
    request: Request, services: Services, email: str, password: str, now: Now
) -> SignedIn:
    return await sessions.sign_in(
        services.database,
        email=email,
        password=password,
        user_agent=request.headers.get("user-agent", ""),
        session_days=services.settings.session_days,
        now=now,
    )


def _next_page(request: Request, told: str) -> str:
    """Where somebody was going: the page's address knows it before the form's script has run."""
    if told != DASHBOARD:
        return told
    query = request.headers.get("referer", "").partition("?")[2]
    return parse_qs(query).get("next", [told])[0]


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _back(page: str, error: str, next_page: str = DASHBOARD) -> RedirectResponse:
    query = {"error": error}
    if _is_local(next_page) and next_page != DASHBOARD:
        query["next"] = next_page
    return RedirectResponse(f"{page}?{urlencode(query)}", SEE_OTHER)


def _forward(services: Services, signed_in: SignedIn, next_page: str) -> RedirectResponse:
    response = RedirectResponse(next_page if _is_local(next_page) else DASHBOARD, SEE_OTHER)
    response.set_cookie(
        SESSION_COOKIE,
        signed_in.token,
        expires=signed_in.expires_at,
        path="/",
        secure=services.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    return response


def _out(services: Services, error: str = "") -> RedirectResponse:
    response = _back(SIGN_IN, error) if error else RedirectResponse(SIGN_IN, SEE_OTHER)
    response.delete_cookie(
        SESSION_COOKIE,
        path="/",
        secure=services.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    return response


def _is_local(page: str) -> bool:
    """A path of this site: no scheme, no host, no way to spell one."""
    try:
        parts = urlsplit(page)
    except ValueError:
        return False
    plain = page.startswith("/") and not page.startswith("//") and "\\" not in page
    return plain and not parts.scheme and not parts.netloc
