"""The names of ashiq24/Scale_Equivarinat_Fourier_Layer (NeurIPS 2023); the modules say what differs.

All layers, functions and networks. Of its data, augmentation, logging and scripts the error says what to take.
"""

from sefl.compat.names import each, finder

MODULES = each(
    {
        """
        down_sample_keepsize down_sample_keepsize_1d enblock1d enblock2d get_block1d get_block2d get_diag_mask
        get_gaussian get_mat get_mixer_mask get_pooled get_pooled_1d get_pweights get_pweights_1D
        get_row_element get_stack get_stack_1d get_stack_differential loadcfg make_real resample resample_1d
        sliding_windows
        """: "spectra",
        """
        SpectralConv1d SpectralConv2dCircular SpectralConv2dLocalized SpectralConvLocalized1d compl_mul1d
        compl_mul2d softPaching
        """: "convolutions",
        "scaleEqNonlin scaleEqNonlin1d scaleEqNonlinMaxp": "nonlinearities",
        "SpectralMixer_1D SpectralMixer_2D SpectralMixer_2D_shifteq spectralMlp": "mixing",
        """
        ComplexBatchNorm1dSim ComplexBatchNorm2dSim ComplexGELU ComplexLayerNorm1d ComplexLayerNorm2d
        ComplexLeakyRELU ComplexRELU ComplexSELU ComplexTanh SpectralDropout activation_map complex_gelu
        complex_relu complex_selu complex_sigmoid complex_tanh complex_tanh_se get_activation modRelu
        """: "complex_modules",
        """
        ComplexAvgPool2d ComplexBatchNorm1d ComplexBatchNorm2d ComplexConv1d ComplexConv2d
        ComplexConvTranspose2d ComplexDropout ComplexDropout2d ComplexLinear ComplexMaxPool2d ComplexReLU
        ComplexSigmoid apply_complex complex_avg_pool2d complex_dropout complex_dropout2d complex_matmul
        complex_max_pool2d complex_normalize complex_opposite complex_stack complex_upsample complex_upsample2
        """: "complex_layers",
        """
        AbstractBaseClassifierModel FourierScaleShifteqMixer FourierSeq1d FourierSeqFrequencyMixer
        FourierSeqMist FourierSeqStl get_available_models get_model
        """: "networks",
    }
)
_DATA = "for {} take {}, whose batches are the same: images of one resolution, and labels"
_MNIST, _STL = (
    _DATA.format(*each)
    for each in (("MNIST", "datamodules.MNISTScale"), ("STL-10", "datamodules.STL10Scale"))
)
_AUGMENTATION = "take the augmentations of datamodules, such as shift_augmentation of datamodules.MNISTScale"
_RUNS = "a run of sefl.fit logs, stops and goes on by itself (--ckpt_path last, trainer.logger, trainer.max_epochs)"
_MEASURE = "take sefl.equivariance.measure, sefl.testing.assert_scale_equivariant or sefl.metrics"
LEFT_OUT = each(
    {
        """
        MNISTDataModule ScaleMNIST ScaleMNISTDataModule CustomRandomSampler get_available_pl_modules
        get_pl_datamodule
        """: _MNIST,
        "ScaleSTL ScaleSTLDataModule": _STL,
        "YESNODataModule": "for YESNO give datamodules.WavFolder a folder of its sounds by class",
        """
        AddCircularShift AddScaling AddUniformNoise Cutout None_func get_augmentation scale_resize
        """: _AUGMENTATION,
        "AutoResumeState OneEpochStop main read_tags set_logger set_neptune set_tags": _RUNS,
        "GetAccuracy TestEquivarinecError": _MEASURE,
    }
)

__all__ = sorted(MODULES)
__getattr__ = finder(__name__, MODULES, LEFT_OUT)
