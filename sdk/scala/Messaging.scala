package atelier

import akka.actor.{Actor, ActorRef, ActorSelection, ActorSystem, Props}
import com.typesafe.config.Config
import org.apache.toree.boot.layer.StandardBareInitialization
import org.apache.toree.kernel.protocol.v5.content.{CommClose, CommMsg, CommOpen}
import org.apache.toree.kernel.protocol.v5.dispatch.StatusDispatch
import org.apache.toree.kernel.protocol.v5.handler.ShutdownHandler
import org.apache.toree.kernel.protocol.v5.kernel.{ActorLoader, SimpleActorLoader}
import org.apache.toree.kernel.protocol.v5.relay.KernelMessageRelay
import org.apache.toree.kernel.protocol.v5.{KernelMessage, MessageType, SystemActorType}
import org.apache.toree.utils.LogLike

import scala.language.reflectiveCalls

/** How Toree's messages get to the sockets. Toree has an actor for each type of message, between which their order is
  * lost; here one actor passes all of them on.
  */
private[atelier] trait Messaging extends StandardBareInitialization { this: LogLike =>
  def wire: Wire

  /** To be called when everything is ready. */
  protected[atelier] var begin: () => Unit = () => ()

  override protected def createActorLoader(system: ActorSystem): ActorLoader = {
    val outgoing = system.actorOf(Props(classOf[Outgoing], wire), "outgoing")
    new Loader(SimpleActorLoader(system), system.actorSelection(outgoing.path))
  }

  override protected def initializeCoreActors(
      config: Config, system: ActorSystem, loader: ActorLoader
  ): (ActorRef, ActorRef, ActorRef, ActorRef, ActorRef) = {
    val (in, out) = (MessageType.Incoming, MessageType.Outgoing)
    val incoming = Map(
      CommOpen.toTypeString -> in.CommOpen.toString,
      CommMsg.toTypeString -> in.CommMsg.toString,
      CommClose.toTypeString -> in.CommClose.toString
    )
    val outgoing = Map(
      CommOpen.toTypeString -> out.CommOpen.toString,
      CommMsg.toTypeString -> out.CommMsg.toString,
      CommClose.toTypeString -> out.CommClose.toString
    )
    // Without its signature manager, which answers later and in any order: the wire signs.
    val relaying = Props(classOf[KernelMessageRelay], loader, false, incoming, outgoing)
    val relay = system.actorOf(relaying, SystemActorType.KernelMessageRelay.toString)
    val status = system.actorOf(Props(classOf[StatusDispatch], loader), SystemActorType.StatusDispatch.toString)
    val ending = system.actorOf(Props(classOf[ShutdownHandler], loader), in.ShutdownRequest.toString)
    Streams.publish = message => relay ! message
    begin = () => wire.open(relay)
    (relay, relay, status, ending, relay)
  }

  /** The wire has them. */
  override protected def createSockets(config: Config, system: ActorSystem, loader: ActorLoader): Unit = ()
}

private[atelier] final class Outgoing(wire: Wire) extends Actor {
  override def receive: Receive = { case message: KernelMessage => wire.send(message) }
}

/** Finds actors for Toree. What a cell shows comes after what it has printed before. */
private[atelier] final class Loader(loader: ActorLoader, outgoing: ActorSelection) extends ActorLoader {
  private val leaving: Set[Enumeration#Value] = {
    val types = MessageType.Outgoing
    Set(
      types.KernelInfoReply, types.CommInfoReply, types.ExecuteReply, types.CompleteReply, types.IsCompleteReply,
      types.ShutdownReply, types.InputRequest, types.ExecuteResult, types.Stream, types.DisplayData, types.ClearOutput,
      types.ExecuteInput, types.Status, types.Error, types.CommOpen, types.CommMsg, types.CommClose
    )
  }

  override def load(kind: Enumeration#Value): ActorSelection = {
    if (kind == SystemActorType.KernelMessageRelay && !isActor) Streams.flush()
    if (leaving(kind)) outgoing else loader.load(kind)
  }

  /** Actors must not wait for a reader: they move what it reads. */
  private def isActor: Boolean = Thread.currentThread.getClass.getName.startsWith("akka.")
}
