"""Holds the `data` of every event against OCSF 1.3.0: check.py FILE of JSON lines. Prints the type of each that fits."""

import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from py_ocsf_models.events.base_event import BaseEvent
from py_ocsf_models.events.findings.compliance_finding import ComplianceFinding

VERSION = "1.3.0"
schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(VERSION))


def problems(data):
    metadata = data["metadata"]
    if metadata["version"] != VERSION:
        yield f"version {metadata['version']}"
    name = schema.lookup_class_name_from_uid(data["class_uid"])
    described = schema.get_class_schema(name, metadata["profiles"])
    for error in Draft202012Validator(described).iter_errors(data):
        yield f"{error.json_path}: {error.message}"
    if data["type_uid"] != data["class_uid"] * 100 + data["activity_id"]:
        yield "type_uid is of another activity"
    BaseEvent(**data)
    if data["class_uid"] == 2003:
        # Its device demands an address and a cloud region, which the schema only recommends and hosts need not have.
        ComplianceFinding(**{name: value for name, value in data.items() if name != "device"})


failed = False
for line in open(sys.argv[1], encoding="utf-8"):
    event = json.loads(line)
    found = list(problems(event["data"]))
    for problem in found:
        failed = True
        print(f"{event['type']}: {problem}", file=sys.stderr)
    if not found:
        print(event["type"])
sys.exit(failed)
