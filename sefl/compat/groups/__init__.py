"""Every public name of ashiq24/Group_Sampling (ICLR 2025); the modules say what differs."""

from sefl.compat.names import finder

MODULES = {
    "spaces": (
        *("GroupRegistry", "get_group", "get_group_dimension", "get_gspace", "get_supported_group_types"),
        "is_3d_group",
    ),
    "subsampling": (
        *("CycleToCycleStrategy", "DihedralToAdihedralStrategy", "DihedralToCycleStrategy"),
        *("DihedralToDihedralStrategy", "FullOctahedralToCycleStrategy", "FullOctahedralToDihedralStrategy"),
        *("FullOctahedralToOctahedralStrategy", "OctahedralToCycleStrategy"),
        *("SubsamplingRegistry", "SubsamplingStrategy", "get_supported_subsampling_transitions"),
        *("is_subsampling_supported", "subsample_with_strategy"),
    ),
    "graphs": (
        *("AbstractGroupGraph", "CycleGraph", "DihedralGraph", "FullOctahedralGraph", "GraphConstructor"),
        *("GroupGraphError", "GroupGraphFactory", "InvalidGeneratorError", "OctahedralGraph"),
        *("UnsupportedGroupError", "create_group_graph"),
    ),
    "sampling": (
        *("AntiAliasingLayer", "Cannonicalizer", "FourierOps", "L1ProjectorUtils", "ReynoldsProjectorHelper"),
        *("SamplingLayer", "SmoothOperatorFactory", "SubgroupDownsample", "solve_M"),
    ),
    "padding": (
        *(
            "BlurPool2d",
            "BlurPool2dMod",
            "BlurPool3d",
            "get_padding",
            "get_padding_value",
            "get_same_padding",
        ),
        *("is_static_pad", "pad_same", "pad_same_arg"),
    ),
    "networks": (
        *(
            "Gcnn",
            "Gcnn3D",
            "Gcnn3DSegmentation",
            "GroupPooling3D",
            "GroupUpsample3D",
            "HybridConvGroupResample3D",
        ),
        *("SimpleCNN3D", "SpatialUpsample3D", "create_simple_cnn3d_model", "get_3d_model"),
        *("get_3d_segmentation_model", "get_model", "rnConv"),
    ),
}
LEFT_OUT: dict[str, str] = {}

__all__ = sorted(name for names in MODULES.values() for name in names)
__getattr__ = finder(__name__, MODULES, LEFT_OUT)
