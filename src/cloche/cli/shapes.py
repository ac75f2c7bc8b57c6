"""What docker's objects have that their JSON may leave out, for templates: `{{.State.Health}}` is nil where none is.

A shape names the members that need it; what it does not name is as the document has it.

    {"A": shape}        an object, or nil; a member that the document leaves out is the zero of its shape
    {EACH: shape}       a map, which can be asked for any name
    [shape]             a list
    "", 0, False, None  itself, where it is left out; of a Duration also the kind of what is there

The source is docker's API 1.50 (moby's api/types), whose members of these names are `omitempty`. Pure.
"""

from __future__ import annotations

from cloche.cli.template_data import Duration, Map, Members, NilList, NilMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Shape = dict[str, Any] | list[Any] | str | int | None

EACH = "*"
LIST: Shape = [None]
MAP: Shape = {EACH: None}
# what Go's fields are called where JSON has another name
FIELDS = {
    "Id": "ID",
    "Dns": "DNS",
    "DnsOptions": "DNSOptions",
    "DnsSearch": "DNSSearch",
    "CpuShares": "CPUShares",
    "NanoCpus": "NanoCPUs",
    "CpuPeriod": "CPUPeriod",
    "CpuQuota": "CPUQuota",
    "CpuRealtimePeriod": "CPURealtimePeriod",
    "CpuRealtimeRuntime": "CPURealtimeRuntime",
    "CpuCount": "CPUCount",
    "CpuPercent": "CPUPercent",
    "mediaType": "MediaType",
    "digest": "Digest",
    "size": "Size",
}
HEALTHCHECK: Shape = {
    "Test": LIST,
    "Interval": Duration(0),
    "Timeout": Duration(0),
    "StartPeriod": Duration(0),
    "StartInterval": Duration(0),
    "Retries": 0,
}
# of a container and of an image alike
CONFIG: dict[str, Shape] = {
    "ExposedPorts": MAP,
    "Env": LIST,
    "Cmd": LIST,
    "Healthcheck": HEALTHCHECK,
    "ArgsEscaped": False,
    "Volumes": MAP,
    "Entrypoint": LIST,
    "OnBuild": LIST,
    "Labels": MAP,
    "StopSignal": "",
    "Shell": LIST,
}
MOUNT: Shape = {
    "Type": "",
    "Source": "",
    "Target": "",
    "ReadOnly": False,
    "Consistency": "",
    "BindOptions": {
        "Propagation": "",
        "NonRecursive": False,
        "CreateMountpoint": False,
        "ReadOnlyNonRecursive": False,
        "ReadOnlyForceRecursive": False,
    },
    "VolumeOptions": {"NoCopy": False, "Labels": MAP, "Subpath": "", "DriverConfig": None},
    "ImageOptions": {"Subpath": ""},
    "TmpfsOptions": {"SizeBytes": 0, "Mode": 0, "Options": LIST},
    "ClusterOptions": None,
}
HOST_CONFIG: Shape = {
    "Binds": LIST,
    "LogConfig": {"Config": MAP},
    "PortBindings": MAP,
    "VolumesFrom": LIST,
    "Annotations": MAP,
    "CapAdd": LIST,
    "CapDrop": LIST,
    "Dns": LIST,
    "DnsOptions": LIST,
    "DnsSearch": LIST,
    "ExtraHosts": LIST,
    "GroupAdd": LIST,
    "Links": LIST,
    "SecurityOpt": LIST,
    "StorageOpt": MAP,
    "Tmpfs": MAP,
    "Sysctls": MAP,
    "BlkioWeightDevice": LIST,
    "BlkioDeviceReadBps": LIST,
    "BlkioDeviceWriteBps": LIST,
    "BlkioDeviceReadIOps": LIST,
    "BlkioDeviceWriteIOps": LIST,
    "Devices": LIST,
    "DeviceCgroupRules": LIST,
    "DeviceRequests": LIST,
    "KernelMemory": 0,
    "KernelMemoryTCP": 0,
    "Ulimits": LIST,
    "Mounts": [MOUNT],
    "MaskedPaths": LIST,
    "ReadonlyPaths": LIST,
    "Init": None,
}
NETWORK: Shape = {"Links": LIST, "Aliases": LIST, "DriverOpts": MAP, "GwPriority": 0, "DNSNames": LIST}
CONTAINER: Shape = {
    "ExecIDs": LIST,
    "State": {"Health": {"Log": LIST}},
    "HostConfig": HOST_CONFIG,
    "GraphDriver": {"Data": MAP},
    "SizeRw": None,
    "SizeRootFs": None,
    "Mounts": [{"Type": "", "Name": "", "Driver": ""}],
    "Config": {**CONFIG, "MacAddress": "", "NetworkDisabled": False, "StopTimeout": None},
    "NetworkSettings": {
        "Ports": MAP,
        "SecondaryIPAddresses": LIST,
        "SecondaryIPv6Addresses": LIST,
        "Networks": {EACH: NETWORK},
    },
    "ImageManifestDescriptor": None,
}
IMAGE: Shape = {
    "RepoTags": LIST,
    "RepoDigests": LIST,
    "Created": "",
    "Config": {**CONFIG, "User": "", "WorkingDir": ""},
    "Variant": "",
    "OsVersion": "",
    "VirtualSize": 0,
    "RootFS": {"Layers": LIST},
    "Descriptor": {"URLs": LIST, "Annotations": MAP, "Data": LIST, "Platform": None, "ArtifactType": ""},
    "Manifests": LIST,
}
VOLUME: Shape = {
    "ClusterVolume": None,
    "CreatedAt": "",
    "Labels": MAP,
    "Options": MAP,
    "Status": MAP,
    "UsageData": None,
}
SHAPES = {"container": CONTAINER, "image": IMAGE, "volume": VOLUME}


def shaped(value: Any, shape: Shape) -> Any:
    """A document of JSON, or a part of it, as a template sees it; what is of another shape stays as it is."""
    if isinstance(shape, list):
        if value is None:
            return NilList()
        return [shaped(item, shape[0]) for item in value] if isinstance(value, list) else value
    if isinstance(shape, dict) and EACH in shape and value is None:
        return NilMap()
    if isinstance(shape, Duration) and isinstance(value, int):
        return Duration(value)
    if not isinstance(shape, dict) or not isinstance(value, dict):
        return value
    if EACH in shape:
        return Map({key: shaped(item, shape[EACH]) for key, item in value.items()})
    return _members(value, shape)


def _members(value: dict[str, Any], shape: dict[str, Any]) -> Members:
    found = {key: shaped(item, shape.get(key)) for key, item in value.items()}
    unsaid = {key: _zero(inner) for key, inner in shape.items() if key not in value}
    return Members(found, unsaid | {FIELDS[key]: item for key, item in found.items() if key in FIELDS})


def _zero(shape: Shape) -> Any:
    return shaped(None, shape) if isinstance(shape, (list, dict)) else shape
