"""What a command works with: its settings, the service, and where to print. Each is made when it is first used."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gtm.credentials import FILE_NAME, Credential, CredentialFile
from gtm.errors import NotSignedIn, UsageError
from gtm.output import Output, wants_color
from gtm.settings import TOKEN_VARIABLE, Flags, Settings, configuration_directory, read_settings
from gtm.urls import is_in_clear

if TYPE_CHECKING:
    from gtm.service import Service


@dataclass
class Session:
    """One call of `gtm`."""

    flags: Flags
    environment: Mapping[str, str]
    _services: "list[Service]" = field(default_factory=list)

    @cached_property
    def settings(self) -> Settings:
        return read_settings(self.flags, self.environment, Path.cwd())

    @cached_property
    def output(self) -> Output:
        output = self.messages
        output.format = self.settings.output
        return output

    @property
    def messages(self) -> Output:
        """For what has to be said even if the settings cannot be read."""
        color = wants_color(self.environment, no_color=self.flags.no_color)
        return Output(color=color, stdout=sys.stdout, stderr=sys.stderr)

    @cached_property
    def credentials(self) -> CredentialFile:
        return CredentialFile(configuration_directory() / FILE_NAME)

    @cached_property
    def service(self) -> "Service":
        """As the person who is signed in. Raises NotSignedIn if nobody is."""
        return self.service_as(self.token)

    @cached_property
    def public_service(self) -> "Service":
        """As nobody in particular: what anybody may ask."""
        return self.service_as(None)

    def service_as(self, token: str | None, *, retry_seconds: float | None = None) -> "Service":
        """The service at the URL in force, with this token. `retry_seconds`: other than the setting's."""
        from gtm.service import Service, Waiting  # `--help` can do without

        _ = self._warning_of_clear_text
        service = Service(
            self.settings.url,
            token,
            Waiting(self.settings.retry_seconds if retry_seconds is None else retry_seconds),
            language=language_of(self.environment),
            say=self._say,
            log=self._say if self.flags.verbose else lambda _: None,
        )
        self._services.append(service)
        return service

    @property
    def token(self) -> str:
        """From the environment, or the one kept for this profile and URL. Raises NotSignedIn without one."""
        if (token := self.settings.token_from_environment) is not None:
            self._refuse_to_follow_the_project()
            return token
        if (kept := self.credential) is not None:
            return kept.token
        raise NotSignedIn(
            f"You are not signed in to {self.settings.url}{self._elsewhere()}.",
            hint=f"gtm login, or set {TOKEN_VARIABLE}",
        )

    @property
    def credential(self) -> Credential | None:
        """What is kept for this profile and URL."""
        return self.credentials.find(self.settings.profile, self.settings.url)

    def close(self) -> None:
        """Give all connections back."""
        for service in self._services:
            service.close()

    @cached_property
    def _warning_of_clear_text(self) -> None:
        """Once a call."""
        if is_in_clear(self.settings.url):
            self.messages.warn(f"{self.settings.url} is not encrypted: others on the network can read what is sent.")

    def _say(self, message: str) -> None:
        """On stderr as it is then: while a progress bar is shown, that is above the bar."""
        self.messages.say(message)

    def _refuse_to_follow_the_project(self) -> None:
        """A token from the environment is bound to no URL, and the project's may be a stranger's choice."""
        if self.settings.url_is_the_projects:
            raise UsageError(
                f"{TOKEN_VARIABLE} is not sent to {self.settings.url}, which only the file "
                f"{self.settings['url'].source} names.",
                hint=f"if you trust it, say so: export GTM_URL={self.settings.url}",
            )

    def _elsewhere(self) -> str:
        profile = self.settings.profile
        others = [each.url for each in self.credentials.read() if each.profile == profile]
        return f" (profile {profile} is, to {others[0]})" if others else ""


def language_of(environment: Mapping[str, str]) -> str:
    """For the service's sentences: `fa` in a Persian locale, `en` in every other."""
    locale = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "fa" if locale.startswith("fa") else "en"
