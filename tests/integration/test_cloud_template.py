"""The cloud template makes two stores that the pipeline can use; CloudFormation and S3 are moto's, on loopback."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from cfnlint.decode import decode

from pipeline.adapters.object_store import open_store
from pipeline.errors import ObjectConflictError

TEMPLATE = Path(__file__).resolve().parents[2] / "infra" / "aws" / "stores.yaml"
REGION = "eu-west-2"


@pytest.fixture
def outputs(s3_endpoint: str, aws_environment: None) -> dict[str, str]:
    clouds = boto3.client("cloudformation", endpoint_url=s3_endpoint, region_name=REGION)
    parameters = [{"ParameterKey": "Name", "ParameterValue": "trial-outcomes"}]
    clouds.create_stack(StackName="stores", TemplateBody=TEMPLATE.read_text("utf-8"), Parameters=parameters, Capabilities=["CAPABILITY_IAM"])
    (stack,) = clouds.describe_stacks(StackName="stores")["Stacks"]
    clouds.close()
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


# moto makes no bucket policies from a template, and says so; what the template says is judged below.
@pytest.mark.filterwarnings("ignore:Tried to parse AWS..S3..BucketPolicy:UserWarning")
def test_the_template_makes_two_stores_that_the_pipeline_uses_as_they_are(outputs: dict[str, str], s3_endpoint: str, tmp_path: Path) -> None:
    for name in ("RestrictedUrl", "PublicUrl"):
        store = open_store(f"{outputs[name]}?endpoint_url={s3_endpoint}&region={REGION}", tmp_path / name)
        assert store.put("datasets/F/v1.0.0/a.csv", b"first") is True
        with pytest.raises(ObjectConflictError):
            store.put("datasets/F/v1.0.0/a.csv", b"second")
        assert store.get("datasets/F/v1.0.0/a.csv") == b"first"
        store.client.close()  # type: ignore[attr-defined]


def test_the_restricted_store_is_closed_and_nobody_overwrites_or_deletes_a_published_version() -> None:
    template, problems = decode(str(TEMPLATE))
    assert problems == []
    policy = template["Resources"]["PublicStorePolicy"]["Properties"]["PolicyDocument"]
    assert set(template["Resources"]["RestrictedStore"]["Properties"]["PublicAccessBlockConfiguration"].values()) == {True}
    assert template["Resources"]["PublicStore"]["Properties"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "COMPLIANCE"
    statements = {item["Sid"]: item for item in policy["Statement"]}
    assert statements["NobodyOverwritesAVersion"]["Condition"] == {"Null": {"s3:if-none-match": "true"}}
    assert statements["NobodyDeletes"]["Effect"] == "Deny"
