"""A network of features on a group where networks of several resolutions are expected."""

from typing import Any

from torch import Tensor

from sefl.networks.group_sampled import GroupSampledNetwork, InvariantHeadSettings
from sefl.networks.group_stages import GroupStages, SubgroupSampling
from sefl.networks.single_prediction import SinglePredictionNetwork


class GroupScaleNetwork(SinglePredictionNetwork):
    """A :class:`GroupSampledNetwork` on images of several resolutions, at the resolution of each.

    Its kernels have as many pixels at all of them: it is not scale-equivariant by itself. In a
    :class:`PyramidNetwork` of ``center="image"`` predictions are exactly equivariant to downsampling and invariant to
    those elements of the group that move pixels to pixels, all eight of ``"D4"``.

    Args:
        group: as in :class:`GroupSampledNetwork`, as are the three below.
        stages: the layers.
        sampling: how the features go to a subgroup.
        head: what is made of the last features.
        **common: the arguments of :class:`ScaleNetwork`.

    Raises:
        TypeError, ValueError: as :class:`GroupSampledNetwork` and :class:`ScaleNetwork`.
    """

    def __init__(
        self,
        group: str = "D4",
        stages: GroupStages = GroupStages(),
        sampling: SubgroupSampling = SubgroupSampling(),
        head: InvariantHeadSettings = InvariantHeadSettings(),
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self._require_images()
        self.body = GroupSampledNetwork(group, self.in_channels, self.classes, stages, sampling, head=head)

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images)
        return logits

    def measured_layers(self) -> list[str]:
        return [f"body.{name}" for name in self.body.measured_layers()]
