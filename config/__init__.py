"""One YAML file in, typed settings out.

In: the path of a node.yaml and an environment. Out: frozen `Settings`, or a `SettingsError` whose
`problems` are all that is wrong with the file, each with its line and what was probably meant.
`config.schema` prints the JSON Schema for editors, `config.template` writes a first node.yaml,
`example.yaml` shows every key. Never: a guess, a default outside of the models, the value of a
secret in a message, any other room of ours.
"""

from config.loading import load
from config.problems import Problem, SettingsError
from config.settings import Settings

__all__ = ["Problem", "Settings", "SettingsError", "load"]
