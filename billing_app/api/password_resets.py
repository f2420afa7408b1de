"""Password resets and changes, by plain HTML form posts like signing in.

Opening the mailed link moves its token into an HttpOnly cookie, so the address bar, the history
and the Referer header never contain it.
"""

from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import SQLAlchemyError

from billing_app.api.auth_forms import (
    Text,
    back,
    client_address,
    form_error,
    held_up,
    inside,
    out,
    page_query,
    to_page,
    user_agent,
)
from billing_app.api.callers import Now, ServicesNow
from billing_app.api.csrf import require_own_origin
from billing_app.billing.errors import InvalidInputError, TooManyAttemptsError
from billing_app.billing.identity import password_resets, sessions
from billing_app.billing.identity.password_resets import (
    LINK_MINUTES,
    PasswordLinkOverError,
    WrongPasswordError,
)
from billing_app.billing.identity.sessions import hash_token
from billing_app.jobs.mail import get_mail_queue
from billing_app.routes import (
    CHANGE_PASSWORD,
    FORGOT_PASSWORD,
    PASSWORD_CHANGE,
    PASSWORD_COOKIE,
    PASSWORD_RESET,
    PASSWORD_RESETS,
    PASSWORDS,
    RESET_PASSWORD,
    SESSION_COOKIE,
)

FROM_OWN_PAGES: Final = [Depends(require_own_origin)]

router = APIRouter(tags=["sign-in"])


@router.post(PASSWORD_RESETS, include_in_schema=False, dependencies=FROM_OWN_PAGES)
async def ask_for_link(
    request: Request, services: ServicesNow, now: Now, email: Text = ""
) -> RedirectResponse:
    """Mail a reset link. Response and timing do not reveal whether the address is known."""
    mail_queue = get_mail_queue()
    if mail_queue is None:
        return back(FORGOT_PASSWORD, "no_mail")
    try:
        address = sessions.clean_email(email)
        await services.attempts.check_password_link(address.lower(), client_address(request), now)
        await password_resets.request_link(services.database, mail_queue, email=address)
    except InvalidInputError:
        return back(FORGOT_PASSWORD, "invalid_email")
    except TooManyAttemptsError as error:
        return held_up(FORGOT_PASSWORD, error)
    except SQLAlchemyError:
        return back(FORGOT_PASSWORD, "unreachable")
    return to_page(FORGOT_PASSWORD, said="mailed")


@router.get(PASSWORD_RESETS + "/{token}", include_in_schema=False)
async def open_link(token: str, services: ServicesNow, now: Now) -> RedirectResponse:
    """Open a mailed link. Changes nothing: mail scanners open links, too."""
    try:
        link = await password_resets.find_link(services.database, token, now)
    except SQLAlchemyError:
        return back(FORGOT_PASSWORD, "unreachable")
    if link is None:
        return back(FORGOT_PASSWORD, "link_over")
    response = to_page(RESET_PASSWORD, link=link)
    response.set_cookie(
        PASSWORD_COOKIE,
        token,
        max_age=LINK_MINUTES * 60,
        path=PASSWORDS,
        secure=services.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    response.headers["cache-control"] = "no-store"
    return response


@router.post(PASSWORD_RESET, include_in_schema=False, dependencies=FROM_OWN_PAGES)
async def reset_password(
    request: Request, services: ServicesNow, now: Now, password: Text = "", link: Text = ""
) -> RedirectResponse:
    """Set the password of the link's owner and sign them in.

    The form must belong to the link in the cookie: another tab may have opened another link since.
    """
    token = request.cookies.get(PASSWORD_COOKIE, "")
    link = link or page_query(request, "link")
    if hash_token(token).hex() != link:
        return _without_link(back(FORGOT_PASSWORD, "link_over"))
    try:
        signed_in = await password_resets.reset_password(
            services.database,
            get_mail_queue(),
            token=token,
            password=password,
            user_agent=user_agent(request),
            session_days=services.settings.session_days,
            now=now,
        )
    except InvalidInputError as error:
        return to_page(RESET_PASSWORD, error=form_error(error), link=link)
    except PasswordLinkOverError:
        return _without_link(back(FORGOT_PASSWORD, "link_over"))
    except SQLAlchemyError:
        return to_page(RESET_PASSWORD, error="unreachable", link=link)
    return _without_link(await inside(request, services, signed_in, now))


@router.post(PASSWORD_CHANGE, include_in_schema=False, dependencies=FROM_OWN_PAGES)
async def change_password(
    request: Request, services: ServicesNow, now: Now, current: Text = "", password: Text = ""
) -> RedirectResponse:
    """Change the password of the signed-in person, who must know the current one."""
    token = request.cookies.get(SESSION_COOKIE, "")
    try:
        person = await sessions.authenticate(services.database, token, now)
        if person is None:
            return out(services)
        counted = await services.attempts.check_password(person.user_id, now)
        await password_resets.change_password(
            services.database,
            get_mail_queue(),
            person,
            current=current,
            password=password,
            token=token,
            now=now,
        )
        await services.attempts.forget(counted)
    except WrongPasswordError:
        return back(CHANGE_PASSWORD, "wrong_password")
    except InvalidInputError as error:
        return back(CHANGE_PASSWORD, form_error(error))
    except TooManyAttemptsError as error:
        return held_up(CHANGE_PASSWORD, error)
    except SQLAlchemyError:
        return back(CHANGE_PASSWORD, "unreachable")
    return to_page(CHANGE_PASSWORD, said="changed")


def _without_link(response: RedirectResponse) -> RedirectResponse:
    response.delete_cookie(PASSWORD_COOKIE, path=PASSWORDS, httponly=True, samesite="lax")
    return response
