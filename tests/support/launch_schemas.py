"""Makes tests/golden/launch_schemas.json, against which tests/launch checks the YAML files of launch/.

    python -m venv /tmp/schemas && /tmp/schemas/bin/pip install kubeflow-trainer-api==2.3.0 skypilot==0.14.1
    /tmp/schemas/bin/python tests/support/launch_schemas.py

The schema of JobSet, with Kubernetes' own types, comes from the OpenAPI description that kubeflow-trainer-api carries,
that of a task from skypilot; both are Apache-2.0. Descriptions are left out, so are kinds of volumes that launch/ has
nothing to do with, and a field that the description does not have is refused.
"""

import json

import jsonschema

from tests.support.places import GOLDEN

TARGET = GOLDEN / "launch_schemas.json"
VOLUMES = ("name", "csi", "emptyDir", "hostPath", "persistentVolumeClaim", "configMap", "secret")
CHOICES = {  # the OpenAPI description says these in words alone
    ("JobsetV1alpha2FailurePolicyRule", "action"): ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"],
    ("IoK8sApiBatchV1PodFailurePolicyRule", "action"): ["Count", "FailIndex", "FailJob", "Ignore"],
    ("IoK8sApiBatchV1PodFailurePolicyOnExitCodesRequirement", "operator"): ["In", "NotIn"],
    ("IoK8sApiBatchV1JobSpec", "completionMode"): ["Indexed", "NonIndexed"],
    ("IoK8sApiCoreV1PodSpec", "restartPolicy"): ["Always", "Never", "OnFailure"],
}


def jobset() -> dict:
    from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

    schema = JobsetV1alpha2JobSet.model_json_schema(by_alias=True)
    kinds = schema.pop("$defs")
    kinds["JobSet"] = schema
    volume = kinds["IoK8sApiCoreV1Volume"]["properties"]
    kinds["IoK8sApiCoreV1Volume"]["properties"] = {name: volume[name] for name in VOLUMES}
    for (kind, field), values in CHOICES.items():
        kinds[kind]["properties"][field] = {"enum": values}
    kinds = {name: without_words(kind) for name, kind in kinds.items()}
    definitions, names = {}, ["JobSet"]
    while names:
        name = names.pop()
        if name not in definitions:
            definitions[name] = kinds[name]
            names += [text.partition('"')[0] for text in json.dumps(kinds[name]).split('"#/$defs/')[1:]]
    return {"$ref": "#/$defs/JobSet", "$defs": dict(sorted(definitions.items()))}


def without_words(kind: dict) -> dict:
    """Types of fields alone; no nulls, which only pydantic adds."""
    fields = {}
    for name, field in kind.get("properties", {}).items():
        types = [kind for kind in field.get("anyOf", [field]) if kind != {"type": "null"}]
        schema_of_field = types[0] if len(types) == 1 else {"anyOf": types}
        fields[name] = {
            key: value for key, value in schema_of_field.items() if key not in ("title", "description", "default")
        }
    if "actual_instance" in fields:  # pydantic's way to say one of these
        return {"type": ["string", "number"]}
    return {"type": "object", "properties": fields, "required": kind.get("required", []), "additionalProperties": False}


def sky() -> dict:
    from sky.utils import schemas

    schemas._allow_additional_properties = lambda: False
    task = schemas.get_task_schema()
    task["properties"] |= {"resources": schemas.get_resources_schema(), "config": {"type": "object"}}
    task["properties"]["file_mounts"] = {"additionalProperties": schemas.get_storage_schema()}
    return any_case(task)


def any_case(schema):
    """SkyPilot's own keyword `case_insensitive_enum` as a pattern."""
    if isinstance(schema, list):
        return [any_case(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: any_case(part) for key, part in schema.items() if key != "$schema"}
    if values := result.pop("case_insensitive_enum", None):
        result["pattern"] = f"^(?i:{'|'.join(values)})$"
    return result


def checked(document: dict, schema: str) -> None:
    """Raises ValidationError for a document that is none by the schema "jobset" or "sky"."""
    jsonschema.Draft202012Validator(json.loads(TARGET.read_text())[schema]).validate(document)


if __name__ == "__main__":
    message = (
        "Made by tests/support/launch_schemas.py of kubeflow-trainer-api 2.3.0 and skypilot 0.14.1, both Apache-2.0."
    )
    TARGET.write_text(json.dumps({"about": message, "jobset": jobset(), "sky": sky()}, separators=(",", ":")) + "\n")
