# Reads what others would: check.py otlp FILE prints the events of each request, check.py prometheus FILE each sample.
#
# Both are read by the schema's own programs, which take no member or line that they do not know.
import json
import sys

kind, path = sys.argv[1:]
if kind == "otlp":
    from google.protobuf.json_format import Parse
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    for line in open(path, encoding="utf-8"):
        request = Parse(line, ExportLogsServiceRequest())
        for resource in request.resource_logs:
            host = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert host["service.name"] == "hostward" and host["host.name"], host
            for scope in resource.scope_logs:
                assert scope.scope.name == "hostward"
                for record in scope.log_records:
                    attributes = {a.key: a.value.string_value for a in record.attributes}
                    event = json.loads(attributes["hostward.event"])
                    assert record.event_name == event["type"] and record.body.string_value == event["data"]["message"]
                    assert record.time_unix_nano // 10**6 == event["data"]["time"], record
                    assert 1 <= record.severity_number <= 24
                    print(attributes["hostward.id"])
else:
    from prometheus_client.parser import text_string_to_metric_families

    for family in text_string_to_metric_families(open(path, encoding="utf-8").read()):
        assert family.documentation and family.type in ("gauge", "counter"), family
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            print(f"{sample.name}{{{labels}}} {float(sample.value)}")
