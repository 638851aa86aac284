from .alarms import Alarm as Alarm
from .exact_rates import ExactRates as ExactRates
from .exact_rates import exact_rates_first as exact_rates_first
from .log_file import LogFile as LogFile
from .monitor import RewardMonitor as RewardMonitor
from .progress import Progress as Progress
from .progress import show_progress as show_progress
