"""Small networks, real training: with any declared norm, of activations, of weights or of both, in any place.

    from refnorm.data.digits import load_digits
    from refnorm.nets import MLP, SGD, train

    digits = load_digits()
    network = MLP((64, 64, 64, 10), norm="group_norm", norm_options={"num_groups": 4})
    trained = train(network, digits.rows, digits.labels, steps=300, optimizer=SGD(lr=0.1, momentum=0.9), seed=0)
    trained.accuracy(digits.test_rows, digits.test_labels)

    MLP, ResidualMLP, ConvNet, ResidualConvNet         network.py, mlp.py, convolutional.py, on layers.py and placement.py
    cross_entropy, squared_error, accuracy             losses.py
    SGD, SphereSGD                                     optimizers.py
    SAM, ASAM, SAM_ON                                  sharpness.py
    train, federated_average                           training.py, federated.py
"""

from .convolutional import ConvNet, ResidualConvNet
from .federated import federated_average
from .gradients import Evaluation, from_vector, loss_and_gradients, to_vector
from .losses import accuracy, cross_entropy, squared_error
from .mlp import MLP, ResidualMLP
from .network import Network, Signals
from .optimizers import SGD, SphereSGD
from .sharpness import ASAM, SAM, SAM_ON
from .training import Step, Trained, train

__all__ = [
    "ASAM",
    "MLP",
    "SAM",
    "SAM_ON",
    "SGD",
    "ConvNet",
    "Evaluation",
    "Network",
    "ResidualConvNet",
    "ResidualMLP",
    "Signals",
    "SphereSGD",
    "Step",
    "Trained",
    "accuracy",
    "cross_entropy",
    "federated_average",
    "from_vector",
    "loss_and_gradients",
    "squared_error",
    "to_vector",
    "train",
]
