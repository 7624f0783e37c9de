"""The names of ashiq24/Group_Sampling (ICLR 2025); the modules say what differs.

All layers, graphs, functions and networks. Of its data, configuration and training the error says what to take.
"""

from sefl.compat.names import each, finder

MODULES = each(
    {
        """
        GroupRegistry get_group get_group_dimension get_gspace get_supported_group_types is_3d_group
        """: "spaces",
        """
        CycleToCycleStrategy DihedralToAdihedralStrategy DihedralToCycleStrategy DihedralToDihedralStrategy
        FullOctahedralToCycleStrategy FullOctahedralToDihedralStrategy FullOctahedralToOctahedralStrategy
        OctahedralToCycleStrategy SubsamplingRegistry SubsamplingStrategy get_supported_subsampling_transitions
        is_subsampling_supported subsample_with_strategy
        """: "subsampling",
        """
        AbstractGroupGraph CycleGraph DihedralGraph FullOctahedralGraph GraphConstructor GroupGraphError
        GroupGraphFactory InvalidGeneratorError OctahedralGraph UnsupportedGroupError create_group_graph
        """: "graphs",
        """
        AntiAliasingLayer Cannonicalizer FourierOps L1ProjectorUtils ReynoldsProjectorHelper SamplingLayer
        SmoothOperatorFactory SubgroupDownsample solve_M
        """: "sampling",
        """
        BlurPool2d BlurPool2dMod BlurPool3d get_padding get_padding_value get_same_padding is_static_pad
        pad_same pad_same_arg
        """: "padding",
        """
        Gcnn Gcnn3D Gcnn3DSegmentation GroupPooling3D GroupUpsample3D HybridConvGroupResample3D SimpleCNN3D
        SpatialUpsample3D create_simple_cnn3d_model get_3d_model get_3d_segmentation_model get_model rnConv
        """: "networks",
    }
)
_VOLUMES = (
    "volumes of MedMNIST and ACDC are not read here: give a LightningDataModule of yours, as for any network"
)
_TRAINING = (
    "models.Classifier trains a network with the loss, optimizer, schedule and metrics that its options say"
)
_CONFIGURATION = "configurations are YAML files for sefl.fit"
LEFT_OUT = each(
    {
        """
        ACDCDataModule ACDCDataset DataAugmentation3D MedMNIST3DDataModule MedMNIST3DDataset acdc_collate_fn
        create_dataloader_from_config create_medmnist_dataloader
        """: _VOLUMES,
        """
        EvaluationMetrics LossFunctions MedMNISTLightningModule ModelInitializer OptimizerFactory create_trainer
        main
        """: _TRAINING,
        "ConfigLoader create_organmnist3d_config create_test_config load_config": _CONFIGURATION,
    }
)

__all__ = sorted(MODULES)
__getattr__ = finder(__name__, MODULES, LEFT_OUT)
