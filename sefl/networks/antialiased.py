"""Networks of torchvision whose strides blur first (Zhang: Making Convolutional Networks Shift-Invariant Again)."""

from torch import Tensor, nn

from sefl.groups.blur import BlurPool, blur_pool
from sefl.networks.torchvision import COLORS, TorchvisionNetwork


class AntialiasedTorchvisionNetwork(TorchvisionNetwork):
    """:class:`TorchvisionNetwork` with blur pooling wherever it subsamples, but for a strided first convolution.

    What has a stride is evaluated at every pixel, and :func:`sefl.groups.blur_pool` subsamples (ICML 2019, section 3):

    * max-pooling: the maximum of each window, then the blur; average pooling: the blur alone;
    * convolution, norm and activation: all at every pixel, then the blur, which in a residual block stands in front of
      its last convolution;
    * the 1 x 1 convolution of a residual block's shortcut: the blur, then the convolution.

    There are no further weights, and all keep their names: those of torchvision, and your own of such a network
    without blur, load (``weights``, ``state_dict``). On maps of even size the kernel is 1 3 3 1 along each axis, the
    published default of four taps; on odd ones 1 2 1, centred as :func:`sefl.groups.blur_pool` says.

    Args and errors are those of :class:`TorchvisionNetwork`. Of torchvision's architectures ``alexnet``, ``vgg*``,
    ``squeezenet*``, ``googlenet``, ``resnet*``, ``resnext*``, ``wide_resnet*``, ``densenet*``, ``mobilenet*`` and
    ``efficientnet*`` may be given, and whatever else is made of the same parts.

    Raises:
        ValueError: also if an architecture has strides in other places, or none.
    """

    def prepared(self, architecture: str, network: nn.Module) -> nn.Module:
        """A network of torchvision with blur pooling, changed in place.

        Raises:
            ValueError: if it has strides in other places than those that are known, or none.
        """
        blurred = sum(_blur_within(module) for module in list(network.modules()))
        left = [
            name
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d) and _rate(module) > 1 and module.in_channels != COLORS
        ]
        if left or not blurred:
            place = (
                f"its {left[0]} has a stride behind which a blur has no place"
                if left
                else "it has no strides"
            )
            raise ValueError(
                f"architecture must be one that blur pooling is for, such as resnet18, got {architecture!r}: {place}"
            )
        return network


class BlurredConv2d(nn.Conv2d):
    """:func:`sefl.groups.blur_pool`, then a convolution, with the weights of one of its kind.

    Args:
        convolution: the one whose weights it takes over.
        rate: of the blur pooling.
    """

    def __init__(self, convolution: nn.Conv2d, rate: int) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(convolution.__dict__)
        self.stride = (1, 1)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(blur_pool(x, self.rate))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rate={self.rate}"  # type: ignore[no-untyped-call]


def _rate(module: nn.Module) -> int:
    """The stride of a convolution or pooling."""
    stride = module.stride
    return int(stride if isinstance(stride, int) else stride[0])  # type: ignore[index]


def _blur_within(module: nn.Module) -> int:
    """Replace what has a stride directly within a module; how many were."""
    # Which import all of torch.compile.
    from torchvision.models.resnet import BasicBlock, Bottleneck
    from torchvision.ops.misc import Conv2dNormActivation

    blurred = 0
    for name, child in list(module.named_children()):
        if isinstance(child, nn.MaxPool2d | nn.AvgPool2d) and _rate(child) > 1:
            blur: nn.Module = BlurPool(_rate(child))
            if isinstance(child, nn.MaxPool2d):
                child.stride, rate = 1, _rate(child)
                blur = nn.Sequential(child, BlurPool(rate))
            setattr(module, name, blur)
            blurred += 1
    if isinstance(module, BasicBlock | Bottleneck) and module.stride > 1:
        strided, last = ("conv1", "conv2") if isinstance(module, BasicBlock) else ("conv2", "conv3")
        getattr(module, strided).stride = (1, 1)
        setattr(module, last, BlurredConv2d(getattr(module, last), module.stride))
        assert module.downsample is not None
        module.downsample[0] = BlurredConv2d(module.downsample[0], module.stride)
        blurred += 1
    elif (
        isinstance(module, Conv2dNormActivation) and _rate(module[0]) > 1 and module[0].in_channels != COLORS
    ):
        rate, module[0].stride = _rate(module[0]), (1, 1)
        module.append(BlurPool(rate))
        blurred += 1
    return blurred
