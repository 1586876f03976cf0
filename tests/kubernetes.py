#!/usr/bin/env python3
"""Check Kubernetes manifests against the schemas of Kubernetes and of the Prometheus operator; unknown keys are mistakes.

usage: kubernetes.py FILE... | kubernetes.py - < manifests

Prints a line a resource and exits 0, or says the first mistake and exits 1. Exit 2 is wrong usage or a missing package
(PyPI: kubernetes-validate, cloudcoil-models-prometheus-operator).
"""

import sys

try:
    import cloudcoil.pydantic
    import kubernetes_validate
    import yaml

    # Before the models are made from it: they would pass over a key that they do not know.
    cloudcoil.pydantic.BaseModel.model_config["extra"] = "forbid"
    import cloudcoil.models.prometheus_operator.v1 as operator
except ImportError as error:
    print(f"a package is needed: {error}", file=sys.stderr)
    sys.exit(2)

# In service as this is written, and what clusters that are a year behind run.
KUBERNETES_VERSIONS = ["1.31", "1.37"]


def check(resource):
    if resource["apiVersion"] == "monitoring.coreos.com/v1":
        getattr(operator, resource["kind"]).model_validate(resource)
        return
    for version in KUBERNETES_VERSIONS:
        kubernetes_validate.validate(resource, version, strict=True)


def main(names):
    if not names:
        print(__doc__, file=sys.stderr)
        return 2
    for name in names:
        stream = sys.stdin if name == "-" else open(name, encoding="utf-8")
        with stream:
            resources = [resource for resource in yaml.safe_load_all(stream) if resource]
        if not resources:
            print(f"{name}: holds no resource")
            return 1
        for resource in resources:
            label = f"{name}: {resource.get('kind')} {resource.get('metadata', {}).get('name')}"
            try:
                check(resource)
            except Exception as error:  # of two libraries; whichever it is, the manifest is wrong
                print(f"{label}: {' '.join(str(error).split(chr(10))[:3])}")
                return 1
            print(label)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
