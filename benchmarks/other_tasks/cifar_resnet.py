"""A plug-in that enters the ResNet beside it, so that `tprune prune ... --plugin cifar_resnet` loads its folders."""

from resnet import ResNet

from tprune.realise.architectures import ARCHITECTURES

ARCHITECTURES.enter("ResNet", ResNet)
